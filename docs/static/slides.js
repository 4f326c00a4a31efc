/* One slide at a time: arrows, space, Home, End; n shows the notes; a tap on the right or left third of the screen. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const slides = [...document.querySelectorAll("body > section")];
  const place = document.querySelector(".place");
  let at = Math.max(0, Math.min(slides.length, Number(location.hash.slice(1)) || 1) - 1);
  const show = (to) => {
    at = Math.max(0, Math.min(slides.length - 1, to));
    slides.forEach((slide, i) => slide.toggleAttribute("hidden", i !== at));
    place.textContent = `${at + 1} / ${slides.length}`;
    history.replaceState(null, "", `#${at + 1}`);
    scrollTo(0, 0);
  };
  const isTaken = (target) => target.closest("input, select, button, a, .lab, summary");
  addEventListener("keydown", (event) => {
    if (isTaken(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { ArrowRight: at + 1, PageDown: at + 1, " ": at + 1, ArrowLeft: at - 1, PageUp: at - 1, Home: 0, End: slides.length - 1 }[event.key];
    if (event.key === "n") document.body.classList.toggle("notes");
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  addEventListener("click", (event) => {
    if (isTaken(event.target) || String(getSelection())) return;
    if (event.clientX > innerWidth * 0.8) show(at + 1);
    if (event.clientX < innerWidth * 0.2) show(at - 1);
  });
  addEventListener("hashchange", () => show((Number(location.hash.slice(1)) || 1) - 1));
  show(at);
});
