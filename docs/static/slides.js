/* One slide at a time: arrows, space, Home, End; n shows the notes; a tap on the right or left third of the screen. */
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const slides = [...document.querySelectorAll("body > section")];
  const place = document.querySelector(".place");
  let current = Math.max(0, Math.min(slides.length, Number(location.hash.slice(1)) || 1) - 1);
  const show = (to) => {
    current = Math.max(0, Math.min(slides.length - 1, to));
    slides.forEach((slide, i) => slide.toggleAttribute("hidden", i !== current));
    place.textContent = `${current + 1} / ${slides.length}`;
    history.replaceState(null, "", `#${current + 1}`);
    scrollTo(0, 0);
  };
  const isTaken = (target) => target.closest("input, select, button, a, .lab, summary");
  addEventListener("keydown", (event) => {
    if (isTaken(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { ArrowRight: current + 1, PageDown: current + 1, " ": current + 1, ArrowLeft: current - 1, PageUp: current - 1, Home: 0, End: slides.length - 1 }[event.key];
    if (event.key === "n") document.body.classList.toggle("notes");
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  addEventListener("click", (event) => {
    if (isTaken(event.target) || String(getSelection())) return;
    if (event.clientX > innerWidth * 0.8) show(current + 1);
    if (event.clientX < innerWidth * 0.2) show(current - 1);
  });
  addEventListener("hashchange", () => show((Number(location.hash.slice(1)) || 1) - 1));
  show(current);
});
