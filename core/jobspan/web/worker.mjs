// The script of a worker: boots Pyodide, reproduces the caller's environment, runs batches one after the other.
// The messages are described in protocol.py. It runs as a browser's module worker and as a node worker thread
// (as the source of a script there, so without import statements and top-level await).
{
  const threads = typeof process === "object" && process.versions?.node
    ? process.getBuiltinModule("node:worker_threads")
    : null;
  const port = threads ? threads.parentPort : self;
  let post = (message, transfer = []) => port.postMessage(message, transfer);

  // What every worker has imported, from a fixed path: what lies in the caller's folders is no part of an image.
  const PREPARE = `
import sys
sys.path.extend(place for place in home if place not in sys.path)
del home
import jobspan.web.serve
jobspan.web.serve.prepare()
`;
  const SET_UP = `
def renew(variables):
    import os, random, time
    os.environ.clear()
    os.environ.update(variables.to_py())
    if hasattr(time, "tzset"):
        time.tzset()
    random.seed()

def set_up(path, folder):
    import importlib, os, sys
    sys.path[:] = path
    os.chdir(folder)
    importlib.invalidate_caches()

renew, set_up
`;
  let python, setUp, run, learn;
  let reader; // that nothing else refers to: Chromium's garbage collector takes one that is read from
  const PIECE = 4 << 20;
  let last = Promise.resolve();
  let isDisowned = false; // as far as messages tell, which come when a task lets them

  const memory = () => python._module.HEAP8.length; // Pyodide has no public name for it

  const handlers = {
    async init({ module, options, name, lock, environment, image, makes, compiled, box }) {
      if (box) {
        post = mailbox.writer(box, () => port.postMessage({ type: "mail" }));
        tellOfEnds();
      }
      const bytes = image && read(image); // at the same time as the scripts
      if (image) import(new URL("pyodide.asm.mjs", module).href).catch(() => {}); // loadPyodide tells what fails
      post({ type: "booting", stage: "loading pyodide.mjs", locked: await hold(lock) });
      const { loadPyodide } = await import(module);
      post({ type: "booting", stage: "loading Python" });
      const output = (stream, text) => post({ type: "output", stream, text });
      const load = (extra) =>
        loadPyodide({
          ...options,
          stdout: (line) => output("stdout", `${line}\n`),
          stderr: (line) => output("stderr", `${line}\n`),
          ...extra,
        });
      const restore = shareCompiled(compiled);
      try {
        python = await boot(load, environment, bytes, makes);
      } finally {
        restore();
      }
      // From here on all that is flushed, not only whole lines.
      const writer = (stream, decoder = new TextDecoder()) => ({
        write(bytes) {
          output(stream, decoder.decode(bytes, { stream: true }));
          return bytes.length;
        },
      });
      python.setStdout(writer("stdout"));
      python.setStderr(writer("stderr"));
      post({ type: "booting", stage: "reproducing the caller's environment" });
      const [renew, set] = python.runPython(SET_UP);
      renew(options.env); // an image holds its maker's
      setUp = set;
      await handlers.reproduce({ environment });
      const started = (ticket, index, at) => post({ type: "started", ticket, index, at });
      // A mailbox takes Python's own memory in; a message takes copies along, which become the caller's.
      const reply = (ticket, ...parts) => {
        const views = parts.map((part) => part.getBuffer("u8"));
        const [payload, ...buffers] = views.map(({ data }) => (box ? data : data.slice()));
        const owned = box ? [] : [payload, ...buffers].map((part) => part.buffer);
        post({ type: "reply", ticket, payload, buffers, memory: memory() }, owned);
        for (const view of views) view.release();
      };
      const serve = python.pyimport("jobspan.web.serve");
      const [disowned, turn] = box ? [() => mailbox.isDisowned(box)] : [() => isDisowned, takeIn];
      run = serve.make_runner(name, started, reply, disowned, turn);
      learn = serve.learn_constants;
      post({ type: "ready", memory: memory() });
    },

    async reproduce({ environment }) {
      const { packages, loadedPackages, path, folder } = environment;
      // Packages with shared libraries need their loader; the caller's files then go on top.
      if (packages.length) await python.loadPackage(packages, { messageCallback() {} });
      writeFiles(python, environment);
      Object.assign(python.loadedPackages, loadedPackages);
      python.FS.mkdirTree(folder);
      setUp(path, folder);
    },

    async constants({ payload }) {
      learn(payload);
    },

    async batch({ ticket, payload, buffers }) {
      // Where stacks can be switched, tasks may wait with run_sync.
      if ("Suspending" in WebAssembly || "Suspender" in WebAssembly) {
        await run.callPromising(ticket, payload, buffers);
      } else run(ticket, payload, buffers);
    },
  };

  // Python from an image, which another worker has made or this one makes; by itself where that does not work.
  async function boot(load, environment, reading, makes) {
    try {
      if (makes) {
        const image = await makeImage(load, environment);
        port.postMessage({ type: "image", image }); // with what a mailbox cannot take
        reading = read(image);
      }
      if (reading) {
        const bytes = await reading;
        const copy = await load({ _loadSnapshot: bytes });
        delete copy._api.config._loadSnapshot; // which would keep them in memory
        bytes.buffer.transfer?.(0); // and so would an idle worker, whose garbage nobody collects
        return copy;
      }
    } catch (error) {
      post({ type: "imageless", reason: String(error) });
    }
    return load({});
  }

  // The bytes of an image. Of what a Blob gives at once, the browser keeps a copy until it collects garbage, which in an
  // idle worker it does not; so it is read piece by piece, into the same memory, where that can be.
  async function read(image) {
    if (!image.stream) return image.slice();
    try {
      reader = image.stream().getReader({ mode: "byob" });
    } catch {
      return new Uint8Array(await image.arrayBuffer());
    }
    const bytes = new Uint8Array(image.size);
    for (let at = 0, piece = new ArrayBuffer(PIECE); ; ) {
      const { done, value } = await reader.read(new Uint8Array(piece));
      if (done) {
        reader = undefined;
        return bytes;
      }
      bytes.set(value, at);
      at += value.length;
      piece = value.buffer;
    }
  }

  // Takes the runtime as another worker has compiled it, which saves the time, and the memory of the machine's code; or
  // else leaves it to the others. Returns what takes that back.
  function shareCompiled(compiled) {
    const { instantiate, instantiateStreaming } = WebAssembly;
    const { fetch } = globalThis;
    const sharing = (original) => async (source, imports) => {
      if (source instanceof WebAssembly.Module) return original(source, imports);
      if (compiled) return { module: compiled, instance: await instantiate(compiled, imports) };
      const result = await original(source, imports);
      port.postMessage({ type: "compiled", module: result.module });
      return result;
    };
    WebAssembly.instantiate = sharing(instantiate);
    if (instantiateStreaming) WebAssembly.instantiateStreaming = sharing(instantiateStreaming);
    if (compiled) {
      const none = () => new Response(new Uint8Array(), { headers: { "Content-Type": "application/wasm" } });
      globalThis.fetch = async (what, ...more) =>
        String(what.url ?? what).endsWith("pyodide.asm.wasm") ? none() : fetch(what, ...more);
    }
    return () => {
      globalThis.fetch = fetch;
      WebAssembly.instantiate = instantiate;
      if (instantiateStreaming) WebAssembly.instantiateStreaming = instantiateStreaming;
    };
  }

  async function makeImage(load, environment) {
    const mother = await load({ _makeSnapshot: true, env: { HOME: "/home/pyodide" } }); // not the caller's
    writeFiles(mother, environment);
    mother.globals.set("home", environment.home);
    mother.runPython(PREPARE);
    for (const name of Object.keys(mother.loadedPackages)) delete mother.loadedPackages[name];
    return shareBytes(mother.makeMemorySnapshot());
  }

  // Bytes that many workers can read, and that are sent to them without being copied.
  function shareBytes(bytes) {
    if (typeof SharedArrayBuffer === "undefined") return new Blob([bytes]);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    return shared;
  }

  function writeFiles(python, { paths, sizes, contents }) {
    let offset = 0;
    const made = new Set();
    paths.forEach((file, i) => {
      const folder = file.slice(0, file.lastIndexOf("/")) || "/";
      if (!made.has(folder)) python.FS.mkdirTree(folder);
      made.add(folder);
      // The file system may keep the memory: nobody else changes it.
      python.FS.writeFile(file, contents.subarray(offset, (offset += sizes[i])), { canOwn: true });
    });
  }

  // A browser tells nobody when a worker ends; but its locks become free.
  function hold(lock) {
    if (threads || !navigator.locks) return false;
    return new Promise((resolve) => {
      navigator.locks
        .request(lock, () => {
          resolve(true);
          return new Promise(() => {});
        })
        .catch(() => resolve(false)); // refused to this origin
    });
  }

  // A caller that blocks hears of nothing but what is in the mailbox.
  function tellOfEnds() {
    if (threads) {
      process.on("uncaughtExceptionMonitor", fail);
      process.on("exit", (code) => fail(`its thread ended with exit code ${code}`));
    } else self.addEventListener("error", (event) => fail(event.message));
  }

  const fail = (error) => post({ type: "fatal", reason: String(error) });
  const takeIn = () => new Promise((resolve) => setTimeout(resolve, 0));
  const receive = (message) => {
    if (message.type === "disown") ({ isDisowned } = message);
    else last = last.then(() => handlers[message.type](message)).catch(fail);
  };

  if (threads) port.on("message", receive);
  else {
    const close = self.close.bind(self);
    self.close = () => {
      fail("a task closed it (self.close)");
      close();
    };
    self.onmessage = (event) => receive(event.data);
  }
}
