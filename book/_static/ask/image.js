// From what a reader gives to the 32 x 32 pixels that a network sees, and what the slider does to them.
// An image is RGB bytes, row by row.

export const SIZE = 32;
const MOST = 32; // megapixels; a telephone runs out of memory somewhere above
const DIRECT = 4; // megapixels; larger images the browser shrinks to that before the library's resize is followed

// A file or blob as RGB bytes of SIZE x SIZE. Of an animation its first frame; transparent parts are white.
export async function fromFile(file) {
  const url = URL.createObjectURL(file);
  try {
    const picture = new Image();
    const unreadable = () => new Error(`${file.name ? `“${file.name}”` : "This"} is not an image that this browser can read.`);
    await new Promise((resolve, reject) => {
      picture.onload = resolve;
      picture.onerror = () => reject(unreadable());
      picture.src = url;
    });
    const { naturalWidth: width, naturalHeight: height } = picture;
    if (!width || !height) throw new Error("This image has no size of its own; save it as PNG or JPEG first.");
    const megapixels = width * height / 1e6;
    if (megapixels > MOST) { // known before the pixels are decoded
      throw new Error(`This image has ${Math.round(megapixels)} megapixels and is too large; ${MOST} are the most.`);
    }
    await picture.decode().catch(() => { throw unreadable(); });
    const scale = Math.min(1, Math.sqrt(DIRECT / megapixels));
    return fromDrawable(picture, Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
  } finally {
    URL.revokeObjectURL(url);
  }
}

// An image element, a canvas or a video, drawn at width x height, as RGB bytes of SIZE x SIZE.
export function fromDrawable(drawable, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(drawable, 0, 0, width, height);
  return fit(rgb(context.getImageData(0, 0, width, height).data), width, height);
}

export function rgb(rgba) {
  const out = new Uint8Array(rgba.length / 4 * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4, j += 3) {
    out[j] = rgba[i];
    out[j + 1] = rgba[i + 1];
    out[j + 2] = rgba[i + 2];
  }
  return out;
}

// The shorter side to SIZE, then the centre, as logitnorm.data does it with Pillow. Equal but for a
// grey level here and there: of some shapes Pillow resizes the rows first.
export function fit(pixels, width, height) {
  const short = Math.min(width, height);
  const longer = (side) => (side === short ? SIZE : Math.floor(SIZE * side / short));
  const columns = weights(width, longer(width)), rows = weights(height, longer(height));
  const between = new Uint8Array(height * SIZE * 3);
  for (let y = 0; y < height; y++) {
    apply(columns, (j, c) => pixels[(y * width + j) * 3 + c], (x, c, value) => { between[(y * SIZE + x) * 3 + c] = value; });
  }
  const out = new Uint8Array(SIZE * SIZE * 3);
  for (let x = 0; x < SIZE; x++) {
    apply(rows, (j, c) => between[(j * SIZE + x) * 3 + c], (y, c, value) => { out[(y * SIZE + x) * 3 + c] = value; });
  }
  return out;
}

const ONE = 2 ** 22; // Pillow's fixed-point weights

// For each of the middle SIZE of `length` pixels: the first of `given` pixels that it takes, and their weights.
function weights(given, length) {
  const half = (length - SIZE) / 2;
  const first = half % 1 === 0.5 ? 2 * Math.round(half / 2) : half; // Python rounds halves to even
  const scale = given / length, support = Math.max(scale, 1);
  return Array.from({ length: SIZE }, (_, i) => {
    const centre = (first + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(centre - support + 0.5));
    const end = Math.min(given, Math.trunc(centre + support + 0.5));
    const w = Array.from({ length: end - start }, (_, j) => Math.max(0, 1 - Math.abs((start + j - centre + 0.5) / support)));
    const sum = w.reduce((a, b) => a + b);
    return { start, w: w.map((x) => Math.trunc(0.5 + x / sum * ONE)) };
  });
}

function apply(weighted, get, set) {
  weighted.forEach(({ start, w }, i) => {
    for (let c = 0; c < 3; c++) {
      let sum = ONE / 2;
      for (let j = 0; j < w.length; j++) sum += w[j] * get(start + j, c);
      set(i, c, Math.min(255, Math.floor(sum / ONE)));
    }
  });
}

// ---- what the slider does

export const LEVELS = 11; // 0, no change, to 10

export const EFFECTS = {
  noise: { title: "Noise", amount: (level) => `standard deviation ${(0.04 * level).toFixed(2)}`, change: addNoise },
  blur: { title: "Blur", amount: (level) => `${(0.3 * level).toFixed(1)} pixels wide`, change: blur },
  rotation: { title: "Rotation", amount: (level) => `${18 * level}°`, change: rotate },
};

export const change = (image, effect, level) => (level === 0 ? image : EFFECTS[effect].change(image, level));

const byte = (x) => Math.min(255, Math.max(0, Math.round(x)));

function addNoise(image, level) {
  const random = mulberry32(1); // always the same noise: a link shows a friend the same picture
  return image.map((x) => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    return byte(x + 255 * 0.04 * level * normal);
  });
}

function mulberry32(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// The pixel at column x and row y; beyond the edge that of the edge.
function at(image, x, y, c) {
  const inside = (i) => Math.min(SIZE - 1, Math.max(0, i));
  return image[(inside(y) * SIZE + inside(x)) * 3 + c];
}

function everyPixel(value) {
  const out = new Uint8Array(SIZE * SIZE * 3);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      for (let c = 0; c < 3; c++) out[(y * SIZE + x) * 3 + c] = byte(value(x, y, c));
    }
  }
  return out;
}

function blur(image, level) {
  const sigma = 0.3 * level, reach = Math.ceil(3 * sigma);
  const w = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
  const sum = w.reduce((a, b) => a + b);
  const along = (source, dx, dy) => everyPixel((x, y, c) =>
    w.reduce((total, v, i) => total + v * at(source, x + (i - reach) * dx, y + (i - reach) * dy, c), 0) / sum);
  return along(along(image, 1, 0), 0, 1);
}

function rotate(image, level) {
  const turn = 18 * level * Math.PI / 180, cos = Math.cos(turn), sin = Math.sin(turn), middle = (SIZE - 1) / 2;
  return everyPixel((x, y, c) => {
    const u = cos * (x - middle) + sin * (y - middle) + middle, v = cos * (y - middle) - sin * (x - middle) + middle;
    const i = Math.floor(u), j = Math.floor(v), p = u - i, q = v - j;
    return (1 - q) * ((1 - p) * at(image, i, j, c) + p * at(image, i + 1, j, c))
      + q * ((1 - p) * at(image, i, j + 1, c) + p * at(image, i + 1, j + 1, c));
  });
}
