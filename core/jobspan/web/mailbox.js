// Messages in shared memory, from one worker to its caller, which can take them in while it blocks. An expression whose
// value is { has, bell, make, writer, reader }; both sides have it.
// A mailbox is a ring of bytes with two counters: how many were ever written, and how many read (modulo 2 ** 32). A message
// of any size goes through it piece by piece: its length, the length of its head, the head as JSON, and the bytes of its parts.
// Invariant: who writes waits for room and never overtakes the reader; who reads never waits here.
(() => {
  const SIZE = 1 << 20; // a power of two
  const PIECE = SIZE >> 2; // the reader is told of each, so that both copy at the same time
  const WRITTEN = 0;
  const READ = 1;
  const BYTES = 8; // where the ring begins, behind the counters

  const split = ({ payload, buffers, ...head }) => {
    const parts = payload ? [payload, ...buffers] : [];
    const text = new TextEncoder().encode(JSON.stringify({ ...head, sizes: parts.map((part) => part.length) }));
    const bytes = text.length + parts.reduce((sum, part) => sum + part.length, 0);
    return [new Uint8Array(new Uint32Array([bytes, text.length]).buffer), text, ...parts];
  };

  const join = (bytes, length) => {
    const { sizes, ...message } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
    let offset = length;
    const parts = sizes.map((size) => bytes.subarray(offset, (offset += size)));
    if (parts.length) [message.payload, ...message.buffers] = [parts[0], ...parts.slice(1)];
    return message;
  };

  return {
    has: typeof SharedArrayBuffer !== "undefined",
    make: (bell) => ({ bell, memory: new SharedArrayBuffer(BYTES + SIZE) }),

    // A function that writes messages; it calls knock() for a reader that does not block, and hears of it by an event.
    writer({ bell, memory }, knock) {
      const counters = new Int32Array(memory, 0, 2);
      const ring = new Uint8Array(memory, BYTES);
      let written = 0;
      const tell = () => {
        Atomics.add(bell, 0, 1);
        Atomics.notify(bell, 0);
        knock();
      };
      const put = (bytes) => {
        for (let done = 0; done < bytes.length; ) {
          const read = Atomics.load(counters, READ);
          const room = SIZE - ((written - read) | 0);
          if (room === 0) {
            tell();
            Atomics.wait(counters, READ, read);
            continue;
          }
          const place = written & (SIZE - 1);
          const piece = Math.min(room, PIECE, bytes.length - done, SIZE - place);
          ring.set(bytes.subarray(done, done + piece), place);
          done += piece;
          written = (written + piece) | 0;
          Atomics.store(counters, WRITTEN, written);
          if (piece === PIECE) tell();
        }
      };
      return (message) => {
        split(message).forEach(put);
        tell();
      };
    },

    // A generator function of the messages that are there as a whole; it takes in what there is of the next one.
    reader({ memory }) {
      const counters = new Int32Array(memory, 0, 2);
      const ring = new Uint8Array(memory, BYTES);
      let read = 0;
      let wanted = new Uint8Array(8); // the lengths, then the bytes of a message
      let filled = 0;
      let headLength; // once it is known
      return function* () {
        for (let there; (there = (Atomics.load(counters, WRITTEN) - read) | 0); ) {
          const place = read & (SIZE - 1);
          const piece = Math.min(there, wanted.length - filled, SIZE - place);
          wanted.set(ring.subarray(place, place + piece), filled);
          filled += piece;
          read = (read + piece) | 0;
          Atomics.store(counters, READ, read);
          Atomics.notify(counters, READ);
          if (filled < wanted.length) continue;
          filled = 0;
          if (headLength === undefined) {
            let bytes;
            [bytes, headLength] = new Uint32Array(wanted.buffer);
            wanted = new Uint8Array(bytes);
          } else {
            const message = join(wanted, headLength);
            headLength = undefined;
            wanted = new Uint8Array(8);
            yield message;
          }
        }
      };
    },
  };
})()
