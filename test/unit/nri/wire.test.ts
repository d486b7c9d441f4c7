import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress } from "../../../src/net/address.ts";
import {
  EVENTS,
  readConfigure,
  readPodRequest,
  readStateChange,
  readSynchronize,
  writeConfigured,
  writeRegister,
  writeSynchronized,
} from "../../../src/nri/messages.ts";
import { MuxReader, muxPiece } from "../../../src/nri/mux.ts";
import {
  type Message,
  readRequest,
  readResponse,
  TtrpcReader,
  writeMessage,
  writeRequest,
  writeResponse,
} from "../../../src/nri/ttrpc.ts";
import { readFields, textOf, WireWriter } from "../../../src/nri/wire.ts";
import { runs } from "../../support/runs.ts";
import { GOLDEN } from "./golden.ts";

const UID = "0b5c1a52-7d1e-4b1f-9f4e-2a54d1f0c001";
const READERS = [readPodRequest, readStateChange, readSynchronize, readConfigure, readRequest, readResponse];

describe("as Go writes it", () => {
  test("a pod", () => {
    const pod = readPodRequest(GOLDEN.runPodSandbox)!;
    expect({ ...pod, addresses: pod.addresses.map(formatAddress) }).toEqual({
      ...{ id: "5ab1e", uid: UID, namespace: "shop", name: "web", source: "api", pid: 4711 },
      addresses: ["10.244.0.7", "fd00:244::7"],
    });
    expect(readStateChange(GOLDEN.stateChange)).toEqual({ event: 2, pod });
  });

  test("a list, a configuration", () => {
    const { sandboxes, more } = readSynchronize(GOLDEN.synchronize)!;
    expect(sandboxes.map(({ id, pid }) => [id, pid])).toEqual([
      ["5ab1e", 4711],
      ["dead", 0],
    ]);
    expect(more).toBe(true);
    expect(readConfigure(GOLDEN.configure)).toEqual({
      runtime: "containerd",
      version: "v2.4.2",
      requestTimeout: 2_000,
    });
  });

  test("a request, an answer, a refusal", () => {
    const { service, method, payload } = readRequest(GOLDEN.request)!;
    expect([service, method]).toEqual(["nri.pkg.api.v1alpha1.Plugin", "RunPodSandbox"]);
    expect(payload).toEqual(GOLDEN.runPodSandbox);
    expect(readResponse(GOLDEN.answered)).toEqual({ code: 0, trouble: "", payload: GOLDEN.configured });
    expect(readResponse(GOLDEN.refused)).toMatchObject({ code: 12, trouble: "not subscribed" });
  });

  test("and is written so, too", () => {
    expect(EVENTS).toBe(7);
    expect(writeConfigured(EVENTS)).toEqual(GOLDEN.configured);
    expect(writeSynchronized(true)).toEqual(GOLDEN.synchronized);
    expect(writeRegister("sallyport", "90")).toEqual(GOLDEN.register);
    expect(writeResponse({ code: 12, trouble: "not subscribed", payload: new Uint8Array() })).toEqual(GOLDEN.refused);
  });
});

describe("what is wrong is a value", () => {
  test("cut anywhere: no field more than is there, and never an exception", () => {
    for (const whole of Object.values(GOLDEN)) {
      for (let length = 0; length < whole.length; length++) {
        for (const reader of READERS) reader(whole.subarray(0, length));
      }
    }
    // The pod is not whole, and so is none.
    expect(readPodRequest(GOLDEN.runPodSandbox.subarray(0, -1))).toBeNull();
  });

  test("property: any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const reader of READERS) reader(bytes);
      }),
      { numRuns: runs(2_000) },
    );
  });

  test("property: any byte of a real message changed", () => {
    const whole = GOLDEN.synchronize;
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
        const bytes = whole.slice();
        bytes[at] = value;
        const read = readSynchronize(bytes);
        for (const { addresses, uid } of read?.sandboxes ?? []) {
          expect(addresses.length).toBeLessThanOrEqual(16);
          expect(uid.length).toBeLessThanOrEqual(256);
        }
      }),
      { numRuns: runs(2_000) },
    );
  });

  test.each<[what: string, bytes: number[]]>([
    ["a varint without end", [0x08, ...Array<number>(11).fill(0xff)]],
    ["a length beyond the end", [0x0a, 5, 1]],
    ["a length of 2^63", [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ["field 0", [0x02, 0]],
    ["a group", [0x0b, 0x0c]],
    ["half a fixed number", [0x0d, 1, 2]],
  ])("%s", (_, bytes) => {
    expect(readFields(Uint8Array.from(bytes), () => undefined)).toBe(false);
  });

  test("texts that are too long, or no UTF-8", () => {
    expect(textOf(new Uint8Array([0xc3]), 10)).toBeNull();
    expect(textOf(new Uint8Array(11), 10)).toBeNull();
    const uid = new WireWriter().text(1, "id").text(3, "u".repeat(257)).end();
    expect(readPodRequest(new WireWriter().bytes(1, uid).end())).toBeNull();
  });

  test("what is no address is left out, and of addresses there are sixteen at most", () => {
    const pod = new WireWriter().text(1, "id").text(3, "uid").text(10, "not an address");
    for (let n = 0; n < 40; n++) pod.text(10, `192.0.2.${n}`);
    const { addresses } = readPodRequest(new WireWriter().bytes(1, pod.end()).end())!;
    expect(addresses.map(formatAddress)).toEqual(Array.from({ length: 16 }, (_, n) => `192.0.2.${n}`));
  });
});

describe("streams", () => {
  const cut = (bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] => {
    const chunks: Uint8Array[] = [];
    for (let at = 0, n = 0; at < bytes.length; n++) {
      const size = sizes.length === 0 ? bytes.length : Math.max(1, sizes[n % sizes.length]!);
      chunks.push(bytes.subarray(at, at + size));
      at += size;
    }
    return chunks;
  };
  const anyMessage = fc.record({
    stream: fc.nat(0xffff_ffff),
    type: fc.nat(255),
    payload: fc.uint8Array({ maxLength: 300 }),
  });

  test("property: messages come back as they were, however the stream is cut", () => {
    const messages = fc.array(fc.tuple(fc.integer({ min: 1, max: 2 }), anyMessage), { maxLength: 8 });
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 })), (sent, sizes) => {
        const seen: [number, Message][] = [];
        const readers = [1, 2].map((connection) => new TtrpcReader((message) => seen.push([connection, message])));
        const mux = new MuxReader((connection, bytes) => expect(readers[connection - 1]!.read(bytes)).toBeNull());
        const stream = Buffer.concat(sent.map(([connection, message]) => muxPiece(connection, writeMessage(message))));
        for (const chunk of cut(stream, sizes)) expect(mux.read(chunk)).toBeNull();
        expect(seen).toEqual(sent);
      }),
      { numRuns: runs(300) },
    );
  });

  test("a message may come in many pieces", () => {
    const seen: Message[] = [];
    const reader = new TtrpcReader((message) => seen.push(message));
    const mux = new MuxReader((_, bytes) => reader.read(bytes));
    const bytes = writeMessage({ stream: 3, type: 1, payload: GOLDEN.request });
    for (const part of cut(bytes, [7])) mux.read(muxPiece(1, part));
    expect(seen).toEqual([{ stream: 3, type: 1, payload: GOLDEN.request }]);
  });

  test("what is too large ends the stream before anything is kept", () => {
    const most = 4 << 20;
    const header = (length: number) => {
      const bytes = new Uint8Array(10);
      new DataView(bytes.buffer).setUint32(0, length);
      return bytes;
    };
    expect(new TtrpcReader(() => undefined).read(header(most))).toBeNull();
    expect(new TtrpcReader(() => undefined).read(header(most + 1))).toMatch(/larger than ttrpc allows/);
    const piece = new Uint8Array(8);
    new DataView(piece.buffer).setUint32(4, most + 11);
    expect(new MuxReader(() => undefined).read(piece)).toMatch(/larger than NRI sends/);
  });

  test("property: requests and answers come back as they were", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), fc.uint8Array(), (a, b, payload) => {
        fc.pre(a.isWellFormed() && b.isWellFormed());
        expect(readRequest(writeRequest({ service: a, method: b, payload }))).toEqual({
          service: a,
          method: b,
          payload,
        });
        const answer = { code: payload.length, trouble: a, payload };
        expect(readResponse(writeResponse(answer))).toEqual(answer);
      }),
      { numRuns: runs(300) },
    );
  });
});
