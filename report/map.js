
// ---------------------------------------------------------------------------------------------------- distributions

const measure = document.querySelector("#measure");
const distributions = [...document.querySelectorAll(".distribution")];
measure?.addEventListener("change", () => distributions.forEach((figure, i) => (figure.hidden = i !== Number(measure.value))));
measure?.dispatchEvent(new Event("change")); // a page that is loaded again may remember another choice

// ---------------------------------------------------------------------------------------------------- map

const plane = document.querySelector("#plane");
const hovered = document.querySelector("#hovered");
const shapes = JSON.parse(document.querySelector("#shapes").textContent);
const place = (point) => point.transform.baseVal[0].matrix;
const points = [...plane.querySelectorAll("g")].sort((a, b) => place(a).e - place(b).e);
const tested = new Map(data.places.map((i, k) => [i, data.clips[k]]));
const heard = new Map(); // sounds of points
let current = -1;

function soundOf(point) {
  const i = Number(point.dataset.clip);
  if (!heard.has(i)) {
    const clip = tested.get(i);
    if (clip?.sounds) heard.set(i, new Player([clip.sounds[0]], clip.seconds));
    else if (i in data.sounds) heard.set(i, new Player([data.sounds[i]], Infinity));
  }
  return heard.get(i);
}

function point(index) {
  if (current >= 0) points[current].classList.remove("on");
  current = index;
  if (current < 0) return;
  const { name, about, clip } = points[current].dataset;
  points[current].classList.add("on");
  const unheard = soundOf(points[current]) ? "" : ", its sound is not in this page";
  hovered.replaceChildren(make("bdi", {}, name), ": ", make("bdi", {}, about), unheard);
  const view = tested.get(Number(clip));
  if (view?.sounds) hovered.append(" ", make("a", { href: address(view) }, "open the clip"));
}

function nearest(event) {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(plane.getScreenCTM().inverse());
  let best = -1;
  let distance = 25;
  points.forEach((other, i) => {
    const d = Math.hypot(place(other).e - x, place(other).f - y);
    if (d < distance) [best, distance] = [i, d];
  });
  return best;
}

function hear() {
  const player = current < 0 ? undefined : soundOf(points[current]);
  if (!player) return;
  player.seek(0);
  player.play();
}

plane.addEventListener("pointermove", (event) => {
  const index = nearest(event);
  if (index >= 0 && index !== current) point(index);
});
plane.addEventListener("click", (event) => {
  const index = nearest(event);
  if (index < 0) return;
  point(index);
  hear();
});
plane.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const before = current < 0 && step < 0 ? 0 : current; // from none, back to the last
  if (step) point((before + step + points.length) % points.length);
  else if (event.key === "Enter" || event.key === " ") hear();
  else return;
  event.preventDefault();
});
const keys = [...document.querySelectorAll(".by input")];
keys.forEach((input, k) => {
  function colour() {
    if (!input.checked) return;
    for (const { dataset, lastElementChild: shape } of points) {
      shape.setAttribute("fill", dataset.colours.split(" ")[k]);
      shape.setAttribute("d", shapes[dataset.shapes.split(" ")[k]]);
    }
    for (const legend of document.querySelectorAll(".legend")) legend.hidden = legend.dataset.by !== input.value;
  }
  input.addEventListener("change", colour);
  colour();
});
