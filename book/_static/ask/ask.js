// The page 'Ask the network': from the button that loads the networks to their answers.

import { ask, load, norm, normalised, score, softmax } from "./nets.js";
import { EFFECTS, LEVELS, SIZE, change, fromDrawable, fromFile, rgb } from "./image.js";
import { card, fill, strip, verdict } from "./draw.js";

const block = document.querySelector("[data-ask]");
const find = (selector) => block.querySelector(selector);
const action = (name) => find(`[data-action="${name}"]`);
const panel = (name) => find(`[data-panel="${name}"]`);

let content; // ask.json and the sessions
let cards;
let source = null; // { image: RGB bytes, title, sample: its index or null }
let asked = 0; // counts the changes: an answer that comes late is not shown
let loading = null; // the promise of start
let swept = {}; // the verdicts of all levels, and of which image and effect they are

// ---- errors: one sentence, and what stood there stays

function fail(error) {
  find(".ask-error").textContent = error.message;
}

const guarded = (work) => async (...given) => {
  find(".ask-error").textContent = "";
  try {
    await work(...given);
  } catch (error) {
    fail(error);
  }
};

// ---- loading

// Whatever asks first loads the networks; who asks meanwhile waits for the same.
const ready = () => (loading ??= start());

async function start() {
  const button = action("load"), bar = find("progress"), label = button.textContent;
  button.disabled = true;
  bar.hidden = false;
  try {
    content = await load((share) => {
      bar.value = share;
      button.textContent = share < 1 ? `Loading: ${Math.floor(100 * share)} %` : "Starting the networks";
    });
  } catch (error) {
    loading = null;
    button.textContent = label;
    button.disabled = false;
    bar.hidden = true;
    throw error;
  }
  cards = content.networks.map(card);
  find(".ask-cards").replaceChildren(...cards);
  const away = [button, document.body].includes(document.activeElement);
  panel("start").hidden = panel("fixed").hidden = true;
  panel("tool").hidden = find(".ask-seen-box").hidden = false;
  block.dataset.ready = "true";
  controlsFromAddress();
  if (away) find("[data-sample]").focus({ preventScroll: true });
}

// ---- the address keeps the state

const state = () => new URLSearchParams(location.hash.slice(1));
const name = ({ set, index }) => `${set}-${index}`;

function controlsFromAddress() {
  const given = state();
  if (given.get("effect") in EFFECTS) find("[data-control=effect]").value = given.get("effect");
  const level = Number(given.get("level"));
  if (Number.isInteger(level) && level >= 0 && level < LEVELS) find("[data-control=level]").value = level;
}

async function fromAddress() {
  await ready();
  controlsFromAddress();
  const sample = content.samples.findIndex((entry) => name(entry) === state().get("sample"));
  await pick(Math.max(0, sample));
}

function toAddress() {
  const kept = new URLSearchParams();
  if (source.sample !== null) kept.set("sample", name(content.samples[source.sample]));
  const level = find("[data-control=level]").value;
  if (level !== "0") {
    kept.set("effect", find("[data-control=effect]").value);
    kept.set("level", level);
  }
  history.replaceState(null, "", `#${kept}`);
}

// ---- where an image comes from

async function pick(index) {
  await ready();
  const tiles = new Image();
  tiles.src = new URL("samples.png", import.meta.url);
  await tiles.decode();
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const context = canvas.getContext("2d");
  context.drawImage(tiles, -SIZE * (index % content.tiles), -SIZE * Math.floor(index / content.tiles));
  await take({ image: rgb(context.getImageData(0, 0, SIZE, SIZE).data), title: content.samples[index].said, sample: index });
}

async function takeFile(file) {
  if (!file) throw new Error("There was no image in that; choose, drop or paste an image file.");
  await take({ image: await fromFile(file), title: file.name || "your image", sample: null });
}

async function take(given) {
  await ready();
  source = given;
  action("link").disabled = source.sample === null;
  block.querySelectorAll("[data-sample]").forEach((button, i) => button.setAttribute("aria-pressed", i === source.sample));
  await show();
}

const imageIn = (items) => [...items].find((item) => item.kind === "file")?.getAsFile();

async function pasteButton() {
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    throw new Error("The browser did not let this page read the clipboard; press Ctrl+V (or ⌘V) instead.");
  }
  const item = items.find(({ types }) => types.some((type) => type.startsWith("image/")));
  await takeFile(await item?.getType(item.types.find((type) => type.startsWith("image/"))));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
  } catch {
    throw new Error("The browser did not let this page write to the clipboard; copy the address from its bar instead.");
  }
  find("[data-shown=copied]").textContent = "Copied: it shows a friend this sample and this level.";
}

// ---- drawing

function drawing() {
  const canvas = find(".ask-drawing"), context = canvas.getContext("2d", { willReadFrequently: true });
  const clear = () => {
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };
  clear();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    Object.assign(context, { strokeStyle: find("[data-control=colour]").value, lineWidth: 20, lineCap: "round", lineJoin: "round" });
    context.beginPath();
    context.moveTo(...place(event));
    context.lineTo(...place(event));
    context.stroke();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    context.lineTo(...place(event));
    context.stroke();
  });
  canvas.addEventListener("pointerup", guarded(() =>
    take({ image: fromDrawable(canvas, canvas.width, canvas.height), title: "your drawing", sample: null })));
  action("clear").addEventListener("click", clear);
}

// ---- the camera

async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("This browser gives no camera to this page; it needs an address that starts with https.");
  }
  const video = find("video");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    throw new Error(error.name === "NotAllowedError" ? "The camera was not allowed; change that in the browser's settings."
      : "There is no camera, or another program holds it.");
  }
  panel("camera").hidden = false;
  await video.play();
}

async function takePicture() {
  const video = find("video"), { videoWidth: width, videoHeight: height } = video;
  const image = fromDrawable(video, width, height);
  closeCamera();
  await take({ image, title: "your camera's picture", sample: null });
}

function closeCamera() {
  const video = find("video");
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  panel("camera").hidden = true;
  action("camera").focus();
}

// ---- asking

const answered = (network, answer) => ({
  norm: norm(answer.logits),
  scores: Object.fromEntries(network.scores.map(({ name: which }) => [which, score(network, which, answer)])),
  columns: [{ title: network.method === "logitnorm" ? "raw" : "softmax", values: softmax(answer.logits) },
    ...(network.method === "logitnorm" ? [{ title: "normalised", values: softmax(normalised(network, answer.logits)) }] : [])],
});

const accepts = (network, scores) => scores[network.scores[0].name] >= network.scores[0].threshold;

// A network answers one question at a time: they wait in a line.
let line = Promise.resolve();
const inLine = (work) => (line = line.then(work, work));

async function show() {
  const mine = ++asked;
  const effect = find("[data-control=effect]").value, level = Number(find("[data-control=level]").value);
  const { amount } = EFFECTS[effect];
  const said = level === 0 ? "unchanged" : `level ${level}, ${amount(level)}`;
  find("[data-shown=level]").textContent = said;
  find("[data-control=level]").setAttribute("aria-valuetext", said);
  const image = change(source.image, effect, level);
  paint(image);
  toAddress();
  find("[data-shown=copied]").textContent = source.sample === null ? "A link holds samples; an image of yours stays here." : "";

  await inLine(async () => {
    if (mine !== asked) return; // the slider has moved on
    const begun = performance.now();
    const verdicts = [];
    for (const [i, network] of content.networks.entries()) {
      const [answer] = await ask(network, image);
      const shown = answered(network, answer);
      fill(cards[i], network, content.classes, shown);
      verdicts.push(`${network.title}: ${content.classes[answer.logits.indexOf(Math.max(...answer.logits))]}, `
        + verdict(accepts(network, shown.scores)));
    }
    block.dataset.milliseconds = Math.round(performance.now() - begun);
    find(".ask-title").textContent = source.title;
    find(".ask-brief").textContent = verdicts.join("\n");
    find(".ask-said").textContent = `${source.title}, ${said}. ${verdicts.join(". ")}.`;
    block.dataset.answered = mine;
  });
  await sweep(mine, effect, level, amount);
}

// The verdicts at every level of the effect, one network after the other.
async function sweep(mine, effect, level, amount) {
  const known = swept.image === source.image && swept.effect === effect ? swept : { image: source.image, effect, verdicts: [] };
  for (const [i, network] of content.networks.entries()) {
    await new Promise((resolve) => { setTimeout(resolve); }); // the slider may move in between
    await inLine(async () => {
      if (mine !== asked) return;
      if (!known.verdicts[i]) {
        const images = new Uint8Array(LEVELS * source.image.length);
        for (let j = 0; j < LEVELS; j++) images.set(change(source.image, effect, j), j * source.image.length);
        known.verdicts[i] = (await ask(network, images)).map((answer) => accepts(network, answered(network, answer).scores));
      }
      cards[i].querySelector("[data-part=strip]").replaceChildren(...strip(known.verdicts[i], level, amount));
    });
  }
  if (mine !== asked) return;
  swept = known;
  block.dataset.swept = mine;
}

function paint(image) {
  const context = find(".ask-seen").getContext("2d"), data = context.createImageData(SIZE, SIZE);
  for (let i = 0; i < SIZE * SIZE; i++) data.data.set([...image.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  context.putImageData(data, 0, 0);
}

// ---- what the reader can do

function listen() {
  const press = (which, work) => action(which).addEventListener("click", guarded(work));
  press("load", fromAddress);
  press("link", copyLink);
  press("paste", pasteButton);
  press("draw", () => { panel("draw").hidden = !panel("draw").hidden; });
  press("camera", openCamera);
  press("picture", takePicture);
  press("close", closeCamera);
  block.querySelectorAll("[data-sample]").forEach((button) =>
    button.addEventListener("click", guarded(() => pick(Number(button.dataset.sample)))));
  const file = find("[data-control=file]");
  press("file", () => file.click());
  file.addEventListener("change", guarded(async () => {
    const [chosen] = file.files;
    file.value = ""; // the same file may be chosen again
    await takeFile(chosen);
  }));
  for (const control of ["effect", "level"]) find(`[data-control=${control}]`).addEventListener("input", guarded(show));
  drawing();

  // Anywhere on the page: beside the block, the browser would open the file instead of the page.
  const dropping = (is) => block.classList.toggle("ask-dropping", is);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    dropping(true);
  });
  document.addEventListener("dragleave", (event) => dropping(event.relatedTarget !== null));
  document.addEventListener("drop", guarded(async (event) => {
    event.preventDefault();
    dropping(false);
    await takeFile(event.dataTransfer.files[0]);
  }));
  document.addEventListener("paste", guarded(async (event) => {
    const image = imageIn(event.clipboardData.items);
    if (image) await takeFile(image);
  }));
  window.addEventListener("hashchange", guarded(async () => {
    if (content && state().has("sample")) await fromAddress();
  }));
}

listen();
panel("start").hidden = panel("input").hidden = false;
if (state().has("sample")) find("[data-shown=link]").hidden = false;
