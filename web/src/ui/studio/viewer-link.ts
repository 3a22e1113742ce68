/** The link that a host passes on, and a button that copies it. */
import { byId, h, setText } from "../shared/dom";

const COPIED_MS = 2_000;

export function placeViewerLink(room: string): void {
  const link = byId("link", HTMLAnchorElement);
  const copyText = byId("copy-text", HTMLElement);
  link.href = new URL(`/watch/${encodeURIComponent(room)}`, location.origin).href;
  setText(link, link.href.replace(/^https?:\/\//, ""));
  byId("copy", HTMLButtonElement).addEventListener("click", () => {
    void copy(link.href).then((copied) => {
      setText(copyText, copied ? "Copied" : "Select it and copy");
      setTimeout(() => setText(copyText, "Copy"), COPIED_MS);
    });
  });
}

/** `navigator.clipboard` exists only in secure contexts; elsewhere a selected field can still be copied. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { class: "hush" }, text);
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}
