/** Small helpers over the DOM. Text always goes in as text: a comment with markup is shown as it was typed. */

/** The element with this id; a page without it is a broken build, so it throws. */
export function byId<T extends Element>(id: string, type: abstract new (...args: never[]) => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`the page has no ${type.name} #${id}`);
  return element;
}

type Attributes = Readonly<Record<string, string | boolean | undefined>>;

export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

export function svg<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: readonly Node[]
): SVGElementTagNameMap[Tag] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/** Sets text only when it changed: screen readers announce a live region on every write. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** The same for the element with this id. */
export function setTextOf(id: string, text: string): void {
  setText(byId(id, HTMLElement), text);
}

/** Puts facts into a `<dl class="facts">`, keeping its nodes so that a selection in it survives. */
export function setFacts(list: HTMLDListElement, facts: readonly (readonly [string, string])[]): void {
  if (list.children.length !== facts.length * 2) {
    list.replaceChildren(...facts.flatMap(() => [h("dt"), h("dd")]));
  }
  facts.forEach(([name, value], index) => {
    const term = list.children[index * 2];
    const detail = list.children[index * 2 + 1];
    if (term !== undefined) setText(term, name);
    if (detail !== undefined) setText(detail, value);
  });
}

/** Sets what differs; `true` is an attribute without a value, `false` and `undefined` leave things as they are. */
export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    const text = value === true ? "" : value;
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}
