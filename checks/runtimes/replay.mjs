// Runs cases with ONNX Runtime under node: `node replay.mjs PACKAGE MODULES FOLDER CASE …`, where PACKAGE is onnxruntime-web
// (WebAssembly, as in a browser) or onnxruntime-node. Prints what `replay.py` prints.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const LONGEST = 300;
const [program, modules, folder, ...names] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), "package.json"));
const entry =
  program === "onnxruntime-web" ? path.join(modules, "node_modules", program, "dist", "ort.node.min.mjs") : require.resolve(program);
const loaded = await import(pathToFileURL(path.resolve(entry)));
const ort = loaded.default?.InferenceSession ? loaded.default : loaded;
if (ort.env?.wasm) ort.env.wasm.numThreads = 1;

const say = (value) => fs.writeSync(1, `${JSON.stringify(value)}\n`);
const size = (shape) => shape.reduce((product, axis) => product * axis, 1);
const line = (error) => `${error?.name ?? "Error"}: ${error?.message ?? error}`.split(/\s+/).join(" ").slice(0, LONGEST);
const versionOf = () => JSON.parse(fs.readFileSync(path.join(modules, "node_modules", program, "package.json"), "utf8")).version;

function tensorsOf(document, name) {
  const bytes = fs.readFileSync(path.join(folder, `${name}.bin`));
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  return Object.fromEntries(
    Object.entries(document.tensors).map(([key, { offset, shape }]) => [
      key,
      { shape, data: values.slice(offset, offset + size(shape)) },
    ]),
  );
}

// every half, by its bits: numbers here are 32 bits wide, and those that go in have no more than 11 of them
const halves = Float32Array.from({ length: 1 << 16 }, (_, bits) => {
  const [exponent, fraction, sign] = [(bits >> 10) & 31, bits & 1023, bits >> 15 ? -1 : 1];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
});
const bitsOf = new Map(Array.from(halves, (value, bits) => [value, bits]).reverse());

function tensor(type, data, shape) {
  return new ort.Tensor(type, type === "float16" ? Uint16Array.from(data, (value) => bitsOf.get(value)) : data, shape);
}

function zeros(type, shape) {
  return tensor(type, type === "int64" ? new BigInt64Array(size(shape)) : new Float32Array(size(shape)), shape);
}

const numbers = (made) =>
  made.type === "float16" && made.data instanceof Uint16Array ? Array.from(made.data, (bits) => halves[bits]) : Array.from(made.data);

// output → [{shape, data}] of every call
async function play(session, signature, samples, chunks) {
  const batch = samples.shape[signature.timed ? 1 : 0];
  const stepSize = size(samples.shape.slice(1));
  const states = Object.fromEntries(
    Object.keys(signature.states ?? {}).map((name) => [
      name,
      zeros(signature.types[name], signature.shapes[name].map((axis) => (axis === "B" ? batch : axis))),
    ]),
  );
  const calls = [];
  let first = 0;
  for (const count of chunks) {
    let { shape, data } = samples;
    if (signature.timed) {
      data = data.slice(first * stepSize, (first + count) * stepSize);
      shape = signature.each_step ? shape.slice(1) : [count, ...shape.slice(1)];
    }
    const feed = { [signature.entry]: tensor(signature.entering, data, shape), ...states };
    if (signature.steps) feed[signature.steps] = new ort.Tensor("int64", BigInt64Array.of(BigInt(count)), [1]);
    const made = await session.run(feed);
    for (const [before, after] of Object.entries(signature.states ?? {})) states[before] = made[after];
    calls.push(made);
    first += count;
  }
  return calls;
}

async function tried(name) {
  const document = JSON.parse(fs.readFileSync(path.join(folder, `${name}.json`), "utf8"));
  const known = tensorsOf(document, name);
  let session;
  try {
    session = await ort.InferenceSession.create(fs.readFileSync(path.join(folder, document.model)), {
      executionProviders: [program === "onnxruntime-web" ? "wasm" : "cpu"],
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
    });
  } catch (error) {
    return { case: name, opens: false, why: line(error) };
  }
  try {
    const calls = await play(session, document.signature, known.input, document.chunks);
    let wrong = 0;
    let compared = 0;
    for (const layer of document.layers) {
      const expected = known[`spikes/${layer}`];
      const made = calls.flatMap((call) => numbers(call[layer]));
      if (made.length !== expected.data.length) {
        throw new Error(`layer ${layer}: ${made.length} values made, ${expected.data.length} expected`);
      }
      wrong += made.reduce((count, value, index) => count + (value !== expected.data[index]), 0);
      compared += made.length;
    }
    const logits = numbers(calls.at(-1)[document.logits]);
    const apart = Math.max(...known[document.logits].data.map((value, index) => Math.abs(value - logits[index])));
    return { case: name, opens: true, wrong, compared, logits_apart: apart };
  } catch (error) {
    return { case: name, opens: true, why: line(error) };
  }
}

say({ program, version: versionOf() });
for (const name of names) {
  say({ begin: name });
  say(await tried(name));
}
process.exit(0);
