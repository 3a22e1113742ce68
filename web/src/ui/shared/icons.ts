/** Icons as one hidden sprite: `<use href="#icon-send">` anywhere on the page. Drawn for this product, 24 px grid. */
const STROKE = 'fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"';

const SPRITE = `
<symbol id="mark" viewBox="0 0 32 32"><g fill="none" stroke="currentColor" stroke-width="2.6" stroke-linecap="round">
  <path d="M3 12H19c5.5 0 6-8 1-8-2.6 0-3.6 2.4-2.4 4"/><path d="M7 18H25c5.8 0 5.6 8.4.6 8.4-2.6 0-3.6-2.2-2.6-3.8"/><path d="M3 24H15c3.6 0 3.6 5 .6 5"/></g></symbol>
<symbol id="icon-send" viewBox="0 0 24 24"><path ${STROKE} d="M4.5 12h14M12.5 5.5 19 12l-6.5 6.5"/></symbol>
<symbol id="icon-edit" viewBox="0 0 24 24"><path ${STROKE} d="m5 19 .8-3.6L16.2 5a1.7 1.7 0 0 1 2.4 0l.4.4a1.7 1.7 0 0 1 0 2.4L8.6 18.2Z"/></symbol>
<symbol id="icon-muted" viewBox="0 0 24 24"><path ${STROKE} d="M4 9.5v5h3.4l4.6 4V5.5l-4.6 4ZM16 9.5l5 5M21 9.5l-5 5"/></symbol>
<symbol id="icon-sound" viewBox="0 0 24 24"><path ${STROKE} d="M4 9.5v5h3.4l4.6 4V5.5l-4.6 4ZM15.5 9a4.4 4.4 0 0 1 0 6M18.2 6.5a8 8 0 0 1 0 11"/></symbol>
<symbol id="icon-full" viewBox="0 0 24 24"><path ${STROKE} d="M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15"/></symbol>
<symbol id="icon-fly" viewBox="0 0 24 24"><path ${STROKE} d="M3.5 7h9M9 12h11.5M5 17h8M16.5 7h3M17 17h2.5"/></symbol>
<symbol id="icon-camera" viewBox="0 0 24 24"><path ${STROKE} d="M4 7.5h10.5v9H4ZM14.5 11l5.5-3v8l-5.5-3"/></symbol>
<symbol id="icon-screen" viewBox="0 0 24 24"><path ${STROKE} d="M3.5 5h17v11h-17ZM9 19.5h6M12 16v3.5"/></symbol>
<symbol id="icon-file" viewBox="0 0 24 24"><path ${STROKE} d="M6 3.5h8l4 4v13H6ZM14 3.5v4h4M10.5 11.5v5l4-2.5Z"/></symbol>
<symbol id="icon-copy" viewBox="0 0 24 24"><path ${STROKE} d="M9 9h10.5v10.5H9ZM15 9V4.5H4.5V15H9"/></symbol>
<symbol id="icon-close" viewBox="0 0 24 24"><path ${STROKE} d="m6 6 12 12M18 6 6 18"/></symbol>
<symbol id="icon-warn" viewBox="0 0 24 24"><path ${STROKE} d="M12 4.5 21 19.5H3ZM12 10v4.2M12 16.8v.2"/></symbol>
`;

export function placeIcons(): void {
  const sprite = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  sprite.setAttribute("aria-hidden", "true");
  sprite.style.display = "none";
  // Our own constant, never anything from the network.
  sprite.innerHTML = SPRITE;
  document.body.prepend(sprite);
}
