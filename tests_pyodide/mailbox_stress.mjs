// Sends many messages of many sizes through one mailbox, to a reader that blocks and now and then dawdles; prints how many came.
import { readFileSync } from "node:fs";
import { isMainThread, Worker, workerData } from "node:worker_threads";

const [source] = process.argv.slice(2);
const mailbox = (0, eval)(readFileSync(source, "utf8"));
const COUNT = 800;
const SIZES = [0, 1, 10, 1000, 70_000, 300_000, 1 << 20, 3 << 20]; // below, at and above what a mailbox holds
const size = (i) => SIZES[(i * 7919) % SIZES.length] + (i % 3);

if (isMainThread) {
  const bell = new Int32Array(new SharedArrayBuffer(4));
  const box = mailbox.make(bell);
  if (process.argv.includes("without-yard")) box.yard = null;
  new Worker(new URL(import.meta.url), { workerData: box, argv: [source] });
  const messages = mailbox.reader(box);
  let came = 0;
  while (came < COUNT) {
    const heard = Atomics.load(bell, 0);
    for (const { number, payload, buffers, free } of messages()) {
      const right =
        number === came && payload.length === size(came) && payload.every((byte) => byte === (came & 255)) &&
        buffers.length === 1 && buffers[0].join() === "7,8,9";
      free();
      if (!right) throw Error(`message ${came} came as ${number}, of ${payload.length} bytes`);
      came += 1;
      if (came % 97 === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
    if (came < COUNT) Atomics.wait(bell, 0, heard, 10_000);
  }
  console.log(came);
  process.exit();
} else {
  const write = mailbox.writer(workerData, () => {});
  for (let i = 0; i < COUNT; i++) {
    write({ number: i, payload: new Uint8Array(size(i)).fill(i & 255), buffers: [new Uint8Array([7, 8, 9])] });
  }
}
