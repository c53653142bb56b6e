// Messages in shared memory, from one worker to its caller, which can take them in while it blocks. An expression whose
// value is { has, make, writer, reader, disown, isDisowned }; both sides have it.
// A mailbox is a ring of bytes with two counters: how many were ever written, and how many read (modulo 2 ** 32). A message
// of any size goes through it piece by piece: its length, the length of its head, the head as JSON, and the bytes of its parts.
// Large parts lie in a second memory, the yard, where the reader's one copy is made from: it grows to the largest message,
// and belongs to one message at a time.
// The other way goes one bit: whether nobody waits any more for what the worker runs.
// Invariant: who writes waits for room and never overtakes the reader; who reads never waits here. What a message holds of
// the yard is the reader's until it calls the message's free(), after it has copied the parts and before it does anything else.
(() => {
  const SIZE = 1 << 20; // a power of two
  const PIECE = SIZE >> 2; // the reader is told of each, so that both copy at the same time
  const WRITTEN = 0;
  const READ = 1;
  const YARD = 2; // 1 while the yard belongs to the reader
  const DISOWNED = 3;
  const BYTES = 16; // where the ring begins, behind the counters
  const LARGE = 1 << 18;
  const MOST_YARD = 1 << 28;

  const makeYard = () => {
    try {
      return new SharedArrayBuffer(0, { maxByteLength: MOST_YARD });
    } catch {
      return null; // no room for it, as in browsers of 32 bits
    }
  };
  const canGrow = (yard) => yard?.growable === true;

  // The head of a message, and the bytes that follow it.
  const split = ({ payload, buffers, ...head }, inYard) => {
    const parts = payload ? [payload, ...buffers] : [];
    const sizes = parts.map((part) => part.length);
    const text = new TextEncoder().encode(JSON.stringify({ ...head, sizes, inYard }));
    const following = inYard ? [] : parts;
    const bytes = text.length + following.reduce((sum, part) => sum + part.length, 0);
    return [new Uint8Array(new Uint32Array([bytes, text.length]).buffer), text, ...following];
  };

  const join = (bytes, length, yard) => {
    const { sizes, inYard, ...message } = JSON.parse(new TextDecoder().decode(bytes.subarray(0, length)));
    const source = inYard ? new Uint8Array(yard) : bytes;
    let offset = inYard ? 0 : length;
    const parts = sizes.map((size) => source.subarray(offset, (offset += size)));
    if (parts.length) [message.payload, ...message.buffers] = parts;
    return { ...message, inYard };
  };

  return {
    has: typeof SharedArrayBuffer !== "undefined",
    make: (bell) => ({ bell, memory: new SharedArrayBuffer(BYTES + SIZE), yard: makeYard() }),

    disown: ({ memory }, isDisowned) => Atomics.store(new Int32Array(memory), DISOWNED, Number(isDisowned)),
    isDisowned: ({ memory }) => Atomics.load(new Int32Array(memory), DISOWNED) === 1,

    // A function that writes messages; it calls knock() for a reader that does not block, and hears of it by an event.
    writer({ bell, memory, yard }, knock) {
      const counters = new Int32Array(memory, 0, 3);
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
      // Whether the parts lie in the yard now.
      const putInYard = ({ payload, buffers }) => {
        const parts = payload ? [payload, ...buffers] : [];
        const bytes = parts.reduce((sum, part) => sum + part.length, 0);
        if (bytes < LARGE || bytes > MOST_YARD || !canGrow(yard)) return false;
        Atomics.wait(counters, YARD, 1);
        try {
          if (yard.byteLength < bytes) yard.grow(bytes);
        } catch {
          return false; // no memory for it: piece by piece
        }
        const place = new Uint8Array(yard);
        let offset = 0;
        for (const part of parts) {
          place.set(part, offset);
          offset += part.length;
        }
        Atomics.store(counters, YARD, 1);
        return true;
      };
      return (message) => {
        split(message, putInYard(message)).forEach(put);
        tell();
      };
    },

    // A generator function of the messages that are there as a whole; it takes in what there is of the next one.
    reader({ memory, yard }) {
      const counters = new Int32Array(memory, 0, 3);
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
            const message = join(wanted, headLength, yard);
            headLength = undefined;
            wanted = new Uint8Array(8);
            message.free = () => {
              if (!message.inYard) return;
              Atomics.store(counters, YARD, 0);
              Atomics.notify(counters, YARD);
            };
            yield message;
          }
        }
      };
    },
  };
})()
