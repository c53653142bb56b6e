// The caller's JavaScript for memory images: what a worker has booted, for others to begin with. An expression for
// pyodide.code.run_js. An image is Python's memory with jobspan imported: bytes that are shared, or a Blob.
// Invariant: one worker makes an image while the others wait for it; whoever cannot have one boots by itself.
(() => {
  const FOLDER = "images";

  // The folder of images in the browser's storage; fails where there is none (node, private windows, opaque origins).
  async function folder() {
    const root = await navigator.storage.getDirectory();
    const own = await root.getDirectoryHandle("jobspan", { create: true });
    return own.getDirectoryHandle(FOLDER, { create: true });
  }

  async function read(key) {
    try {
      const file = await (await (await folder()).getFileHandle(key)).getFile();
      return file.size ? file : null;
    } catch {
      return null; // not there, or no storage: an image is made
    }
  }

  // Images of other versions make room; a file appears under its name when it is whole.
  async function write(key, image) {
    try {
      const images = await folder();
      for await (const name of images.keys()) if (name !== key) await images.removeEntry(name).catch(() => {});
      const stream = await (await images.getFileHandle(key, { create: true })).createWritable();
      await stream.write(image.arrayBuffer ? image : image.slice()); // shared memory cannot be written
      await stream.close();
    } catch {
      // No storage, or no room in it: the next visit makes an image again.
    }
  }

  async function remove(key) {
    await (await folder()).removeEntry(key).catch(() => {});
  }

  // Images under one name; `key` is empty for one that is not to be kept in the browser's storage.
  return (key) => {
    let image, given; // a promise of the image, or of null where none can be had
    const promise = () => {
      image = new Promise((resolve) => {
        given = (value) => {
          given = undefined;
          resolve(value);
        };
      });
    };

    return {
      // The runtime, once a worker has compiled it.
      compiled: undefined,
      // What a worker begins with: an image or nothing; with `makes` it makes one, and others wait for `take` or `lose`.
      async next() {
        if (image) return { image: await image, makes: false };
        promise();
        const kept = key && (await read(key));
        if (!kept) return { image: null, makes: true };
        given(kept);
        return { image: kept, makes: false };
      },
      take(made) {
        given?.(made);
        if (key) write(key, made);
      },
      // Its maker is gone: those that wait boot by themselves, and who comes later makes one.
      lose() {
        if (!given) return;
        given(null);
        image = undefined;
      },
      // Python does not start from it here: nobody tries again.
      refuse() {
        given?.(null);
        image = Promise.resolve(null);
        if (key) remove(key).catch(() => {});
      },
    };
  };
})()
