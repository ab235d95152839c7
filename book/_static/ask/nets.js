// The four networks in the browser: loading them, their answers, and the scores of an answer.

const here = (name) => new URL(name, import.meta.url);
const PIXELS = 32 * 32 * 3;

// What ask.json says, with an ONNX session in each network. progress: called with the share that is loaded, 0 to 1.
export async function load(progress) {
  if (typeof WebAssembly !== "object") {
    throw new Error("This browser has no WebAssembly, which the networks need; the table below stays.");
  }
  const content = JSON.parse(new TextDecoder().decode(await read("ask.json", () => {})));
  const total = Object.values(content.bytes).reduce((a, b) => a + b);
  let done = 0;
  const files = {};
  const program = import(here("ort/ort.wasm.bundle.min.mjs"));
  program.catch(() => {}); // said below; a file that is missing is said first
  await Promise.all(Object.keys(content.bytes).map(async (name) => {
    files[name] = await read(name, (bytes) => progress((done += bytes) / total));
  }));
  const ort = await program;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  ort.env.wasm.wasmBinary = files["ort/ort-wasm-simd-threaded.wasm"];
  for (const network of content.networks) {
    const session = await ort.InferenceSession.create(files[network.model], { logSeverityLevel: 3 }); // errors only
    network.run = (images) => session.run({ images: new ort.Tensor("uint8", images, [images.length / PIXELS, 32, 32, 3]) });
  }
  return content;
}

async function read(name, progress) {
  let response;
  try {
    response = await fetch(here(name));
  } catch {
    throw new Error("The networks could not be loaded: the connection failed; press the button to try again.");
  }
  if (!response.ok) throw new Error(`The networks could not be loaded: the server has no ${name}.`);
  const parts = [];
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    progress(part.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// Of each image (RGB bytes, one after the other) the logits and the score of the network's own head, if it has one.
export async function ask(network, images) {
  const { logits, own } = await network.run(images);
  const K = logits.dims[1];
  return Array.from({ length: logits.dims[0] }, (_, i) => ({
    logits: Array.from(logits.data.subarray(i * K, (i + 1) * K)),
    own: own ? own.data[i] : null,
  }));
}

export const norm = (f) => Math.hypot(...f);

export function softmax(f) {
  const top = Math.max(...f);
  const e = f.map((x) => Math.exp(x - top));
  const sum = e.reduce((a, b) => a + b);
  return e.map((x) => x / sum);
}

// f / (tau ||f||): what the softmax of LogitNorm is trained on.
export function normalised(network, f) {
  const length = network.tau * (norm(f) + network.eps);
  return f.map((x) => x / length);
}

// A score as logitnorm.book.ask.score_values has it: higher for in-distribution.
export function score(network, name, { logits, own }) {
  switch (name) {
    case "msp": return Math.max(...softmax(logits));
    case "msp_normalised": return Math.max(...softmax(normalised(network, logits)));
    case "max_logit": return Math.max(...logits);
    case "energy": {
      const top = Math.max(...logits), T = network.energyT;
      return top + T * Math.log(logits.reduce((sum, x) => sum + Math.exp((x - top) / T), 0));
    }
    case "cosine": return own;
    case "confidence": return 1 / (1 + Math.exp(-own));
    default: throw new Error(`unknown score ${name}`);
  }
}
