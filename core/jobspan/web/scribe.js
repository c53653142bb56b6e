// A Web Worker that keeps one file of the origin private file system open, for a page that cannot.
// Invariant: what arrives is written in that order; the file is open to nobody else until "close", or until the page is gone.
const PATIENCE_MS = 2000; // for the worker of a run, or of a page, that has just ended
const FLUSH_MS = 1000;
let handle;
let flushed = 0;

async function open(path) {
  const names = ["jobspan", ...path.split("/").filter(Boolean)];
  const name = names.pop();
  let folder = await navigator.storage.getDirectory();
  for (const each of names) folder = await folder.getDirectoryHandle(each, { create: true });
  const file = await folder.getFileHandle(name, { create: true });
  const end = performance.now() + PATIENCE_MS;
  while (!handle) {
    try {
      handle = await file.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError" || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const bytes = new Uint8Array(handle.getSize());
  handle.read(bytes, { at: 0 });
  postMessage({ type: "ready", bytes }, [bytes.buffer]);
}

const acts = {
  open: ({ path }) => open(path),
  write({ bytes }) {
    if (handle.write(bytes, { at: handle.getSize() }) < bytes.length) throw new Error("there is no more room");
    if (performance.now() - flushed > FLUSH_MS) {
      handle.flush();
      flushed = performance.now();
    }
  },
  truncate: ({ size }) => handle.truncate(size),
  close() {
    handle?.flush();
    handle?.close();
    postMessage({ type: "closed" });
    close();
  },
};

onmessage = async ({ data }) => {
  try {
    await acts[data.type](data);
  } catch (error) {
    postMessage({ type: "failed", name: error.name, text: `${error.name}: ${error.message}` });
  }
};
