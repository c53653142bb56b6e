// The caller's JavaScript: starts workers, packs files for them, notices when one is gone. An expression for
// pyodide.code.run_js, called with Pyodide's file system and with what mailbox.js is.
// Invariant: onGone is called at most once for a worker, and nothing is called after it or after end().
((FS, mailbox) => {
  // Rung by workers that have put something into their mailbox; taken in by those functions.
  const bell = mailbox.has ? new Int32Array(new SharedArrayBuffer(4)) : null;
  const inboxes = new Set();
  const living = new Set(); // what start() gave, until they end
  const takeIn = () => inboxes.forEach((inbox) => inbox());

  return {
    // Whether this thread can block for workers: it shares memory with them, and is not the one that draws a page.
    canBlock: (() => {
      try {
        return Atomics.wait(bell, 0, -1, 0) === "not-equal";
      } catch {
        return false;
      }
    })(),

    // Whether a thread that blocks for whichever workers hears of them: one runs, and none waits for this thread to start.
    allRun: () => living.size > 0 && [...living].every((handle) => handle.runs),

    // The contents of files, one after the other.
    pack(paths) {
      const files = paths.map((path) => FS.readFile(path));
      const sizes = files.map((file) => file.length);
      const contents = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
      let offset = 0;
      for (const file of files) {
        contents.set(file, offset);
        offset += file.length;
      }
      return { paths, sizes, contents };
    },

    // What set() or the end of a time ends: a promise, or a call that blocks.
    signal(milliseconds) {
      let fulfil;
      let isSet = false;
      const end = milliseconds === undefined ? Infinity : Date.now() + milliseconds;
      const promise = new Promise((resolve) => (fulfil = resolve));
      const set = () => {
        isSet = true;
        clearTimeout(timer);
        fulfil();
      };
      const timer = milliseconds === undefined ? undefined : setTimeout(set, milliseconds);
      return {
        promise,
        set,
        isBrief: milliseconds === 0,
        block() {
          while (true) {
            const heard = Atomics.load(bell, 0);
            takeIn();
            const left = end - Date.now();
            if (isSet || left <= 0) return;
            Atomics.wait(bell, 0, heard, left);
          }
        },
      };
    },

    start(script, deadline, onMessage, onGone) {
      const threads = typeof process === "object" && process.versions?.node
        ? process.getBuiltinModule("node:worker_threads")
        : null;
      const lock = threads ? "" : `jobspan worker ${Math.random()} ${performance.timeOrigin + performance.now()}`;
      let worker, url, bootTimer, endTimer, shared, made, stage = "starting its script";
      let over = false;
      let runs = false;
      let wanted = true;
      const outbox = []; // for a worker that does not run yet
      const post = (message, transfer = []) =>
        worker ? worker.postMessage(message, transfer) : outbox.push([message, transfer]);

      const later = (milliseconds, action) => {
        const timer = setTimeout(action, milliseconds);
        timer.unref?.(); // never what keeps node alive
        return timer;
      };
      const end = () => {
        over = true;
        inboxes.delete(inbox);
        living.delete(handle);
        made?.lose();
        clearTimeout(bootTimer);
        clearTimeout(endTimer);
        worker?.terminate();
        if (url) URL.revokeObjectURL(url);
      };
      // `sudden`: nobody ended it, and it told nothing of a reason.
      const gone = (reason, sudden = false) => {
        if (over) return;
        end();
        onGone(reason, sudden);
      };
      const expectSign = () => {
        clearTimeout(bootTimer);
        bootTimer = later(deadline, () => {
          // This thread may have been busy all the time: signs that wait to be read come first.
          bootTimer = later(100, () => gone(`it gave no sign of life for ${deadline / 1000} s while ${stage}`));
        });
      };
      const receive = (message) => {
        if (over) return;
        switch (message.type) {
          case "mail":
            inbox();
            break;
          case "booting":
            runs = true;
            stage = message.stage;
            expectSign();
            // Granted when the worker no longer holds it: then there is no worker any more.
            if (message.locked) navigator.locks.request(lock, () => gone("it ended without a word", true));
            break;
          case "fatal":
            gone(message.reason);
            break;
          case "image":
            made.take(message.image);
            break;
          case "compiled":
            shared.compiled = message.module;
            break;
          case "imageless":
            expectSign();
            onMessage(message);
            break;
          case "ready":
            clearTimeout(bootTimer);
            onMessage(message);
            break;
          case "reply":
            message.free ??= nothing;
            onMessage(message);
            break;
          default:
            onMessage(message);
        }
      };

      const box = bell && mailbox.make(bell);
      const messages = box && mailbox.reader(box);
      const inbox = () => {
        for (const message of messages()) receive(message);
      };
      const nothing = () => {};
      if (box) inboxes.add(inbox);

      const begin = () => {
        expectSign();
        try {
          if (threads) {
            worker = new threads.Worker(script, { eval: true });
            worker.on("message", receive);
            worker.on("messageerror", (error) => gone(`a message from it could not be read: ${error}`));
            worker.on("error", (error) => gone(String(error)));
            worker.on("exit", (code) => gone(`its thread ended with exit code ${code}`, true));
            if (!wanted) worker.unref();
          } else {
            url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
            worker = new Worker(url, { type: "module" });
            worker.onmessage = (event) => receive(event.data);
            worker.onmessageerror = () => gone("a message from it could not be read");
            worker.onerror = (event) => {
              event.preventDefault();
              gone(event.message ?? "its script could not be loaded");
            };
          }
        } catch (error) {
          later(0, () => gone(`it was refused: ${error}`)); // by the page's security policy, for instance
        }
      };

      const handle = {
        // Starts it, as soon as it is known whether it begins with an image that another worker makes at this moment.
        async init(indexURL, options, name, environment, images) {
          const { image, makes } = await images.next();
          shared = images;
          if (makes) made = images;
          if (over) return made?.lose();
          begin();
          const place = `${indexURL}pyodide.mjs`; // in node it may be a path
          const isURL = /^[a-z]{2,}:/i.test(place);
          const module = isURL ? place : process.getBuiltinModule("node:url").pathToFileURL(place).href;
          const kept = outbox.splice(0);
          const { compiled } = images;
          post({ type: "init", module, options, name, lock, environment, image, makes, compiled, box });
          for (const [message, transfer] of kept) post(message, transfer);
        },
        reproduce: (environment) => post({ type: "reproduce", environment }),
        send(ticket, payload, buffers) {
          const transfer = [payload.buffer, ...buffers.map((buffer) => buffer.buffer)];
          post({ type: "batch", ticket, payload, buffers }, transfer);
        },
        // Whether nobody waits any more for what it runs.
        disown(isDisowned) {
          if (box) mailbox.disown(box, isDisowned);
          else post({ type: "disown", isDisowned });
        },
        teach: (payload) => post({ type: "constants", payload }, [payload.buffer]),
        // In node: whether this worker keeps the program running.
        hold(keepsRunning) {
          wanted = keepsRunning;
          wanted ? worker?.ref?.() : worker?.unref?.();
        },
        endLater(milliseconds, reason) {
          endTimer ??= later(milliseconds, () => gone(reason));
        },
        spare() {
          clearTimeout(endTimer);
          endTimer = undefined;
        },
        // Whether it has given a sign of life: then it goes on while this thread blocks.
        get runs() {
          return runs;
        },
        end,
      };
      living.add(handle);
      return handle;
    },
  };
})
