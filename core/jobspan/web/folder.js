// A Web Worker that keeps copies of a folder's files in the origin private file system, for a page that may not wait.
// Invariant: a file is removed only after a newer one was written whole; the folder is open to nobody else until "close",
// or until the page is gone; of what the page asks for faster than it can be written, only the latest is written.
const PATIENCE_MS = 2000; // for the worker of a loop, or of a page, that has just ended
const LOCK = ".lock";
let folder;
let lock;
let closing = false;
let busy = false;
const writes = new Map(); // by name, the newest last
const removals = new Set();

async function open(path) {
  folder = await navigator.storage.getDirectory();
  for (const each of ["jobspan", ...path.split("/").filter(Boolean)]) {
    folder = await folder.getDirectoryHandle(each, { create: true });
  }
  const file = await folder.getFileHandle(LOCK, { create: true });
  const end = performance.now() + PATIENCE_MS;
  while (!lock) {
    try {
      lock = await file.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError" || performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const names = [];
  const contents = [];
  for await (const [name, each] of folder.entries()) {
    if (each.kind !== "file" || name === LOCK) continue;
    names.push(name);
    contents.push(new Uint8Array(await (await each.getFile()).arrayBuffer()));
  }
  postMessage({ type: "ready", names, contents }, contents.map((bytes) => bytes.buffer));
}

async function write(name, bytes) {
  const file = await folder.getFileHandle(name, { create: true });
  const handle = await file.createSyncAccessHandle();
  try {
    handle.truncate(0);
    if (handle.write(bytes, { at: 0 }) < bytes.length) throw new Error("there is no more room");
    handle.flush();
  } finally {
    handle.close();
  }
}

async function remove(name) {
  try {
    await folder.removeEntry(name);
  } catch (error) {
    if (error.name !== "NotFoundError") throw error;
  }
}

// The newest write, then the removals that were asked for before it was begun, and so on: of what comes meanwhile some
// need not be done any more.
async function work() {
  while (writes.size || removals.size) {
    const due = [...removals];
    try {
      if (writes.size) {
        const [name, bytes] = [...writes].at(-1);
        writes.delete(name);
        await write(name, bytes);
      }
      for (const name of due) {
        if (!removals.has(name)) continue; // it was written again
        removals.delete(name);
        await remove(name);
      }
    } catch (error) {
      tell(error);
    }
  }
}

const acts = {
  write({ name, bytes }) {
    removals.delete(name);
    writes.delete(name);
    writes.set(name, bytes);
  },
  remove({ name }) {
    writes.delete(name);
    removals.add(name);
  },
  close() {
    closing = true;
  },
};

function tell(error) {
  postMessage({ type: "failed", name: error.name, text: `${error.name}: ${error.message}` });
}

onmessage = async ({ data }) => {
  if (data.type === "open") {
    await open(data.path).catch(tell);
    return;
  }
  acts[data.type](data);
  if (busy) return;
  busy = true;
  await work();
  busy = false;
  if (closing) {
    lock.close();
    postMessage({ type: "closed" });
    close();
  }
};
