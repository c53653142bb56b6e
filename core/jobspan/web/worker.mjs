// The script of a worker: boots Pyodide, reproduces the caller's environment, runs batches one after the other.
// The messages are described in protocol.py. It runs as a browser's module worker and as a node worker thread
// (as the source of a script there, so without import statements and top-level await).
{
  const threads = typeof process === "object" && process.versions?.node
    ? process.getBuiltinModule("node:worker_threads")
    : null;
  const port = threads ? threads.parentPort : self;
  const post = (message, transfer = []) => port.postMessage(message, transfer);

  let python, setUp, run, learn;
  let last = Promise.resolve();

  const handlers = {
    async init({ module, options, name, lock, environment }) {
      post({ type: "booting", stage: "loading pyodide.mjs", locked: await hold(lock) });
      const { loadPyodide } = await import(module);
      post({ type: "booting", stage: "loading Python" });
      const output = (stream, text) => post({ type: "output", stream, text });
      python = await loadPyodide({
        ...options,
        stdout: (line) => output("stdout", `${line}\n`),
        stderr: (line) => output("stderr", `${line}\n`),
      });
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
      setUp = python.runPython(`
def set_up(path, folder):
    import importlib, os, sys
    sys.path[:] = path
    os.chdir(folder)
    importlib.invalidate_caches()
set_up`);
      await handlers.reproduce({ environment });
      const started = (ticket, index, at) => post({ type: "started", ticket, index, at });
      const reply = (ticket, payload, buffers) =>
        post({ type: "reply", ticket, payload, buffers }, [payload.buffer, ...buffers.map((b) => b.buffer)]);
      const serve = python.pyimport("jobspan.web.serve");
      run = serve.make_runner(name, started, reply);
      learn = serve.learn_constants;
      post({ type: "ready" });
    },

    async reproduce({ environment: { packages, loadedPackages, paths, sizes, contents, path, folder } }) {
      // Packages with shared libraries need their loader; the caller's files then go on top.
      if (packages.length) await python.loadPackage(packages, { messageCallback() {} });
      let offset = 0;
      paths.forEach((file, i) => {
        python.FS.mkdirTree(file.slice(0, file.lastIndexOf("/")) || "/");
        // The file system may keep the memory: nobody else has it.
        python.FS.writeFile(file, contents.subarray(offset, (offset += sizes[i])), { canOwn: true });
      });
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

  const fail = (error) => post({ type: "fatal", reason: String(error) });
  const receive = (message) => {
    last = last.then(() => handlers[message.type](message)).catch(fail);
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
