// The strip of the last ten pictures. They live in the memory of this tab.

import { byId, element } from "./dom.js";

const MOST = 10;
const pictures = [];

/** Puts a picture in front. The eleventh is forgotten. */
export function remember(picture) {
  pictures.unshift(picture);
  while (pictures.length > MOST) pictures.pop().forget();
}

/** Shows the strip. `choose` is called with the picture that is clicked. */
export function showRecent(current, choose) {
  byId("recent").hidden = pictures.length < 2;
  const focused = document.activeElement?.dataset.picture;
  byId("recent-list").replaceChildren(...pictures.map((picture) => item(picture, picture === current, choose)));
  if (focused) byId("recent-list").querySelector(`[data-picture="${focused}"]`)?.focus();
}

function item(picture, isCurrent, choose) {
  const caption = picture.captions?.find((one) => one.caption)?.caption ?? picture.file.name;
  const image = element("img", { src: picture.address, alt: caption, width: 64, height: 64, loading: "lazy" });
  return element("li", {}, element("button", {
    type: "button",
    class: "thumbnail",
    title: caption,
    "data-picture": picture.number,
    "aria-current": isCurrent ? "true" : null,
    click: () => choose(picture),
  }, image));
}
