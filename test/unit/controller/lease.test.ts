import { describe, expect, test } from "vitest";
import { Election, type Lease, type LeaseStore } from "../../../src/controller/lease.ts";

const NAME = { name: "sallyport-controller", namespace: "sallyport" };
const TIMES = { durationMs: 15_000, giveUpMs: 10_000, everyMs: 2_000 };

/** Keeps one Lease as an API server does: a write must know the version it replaces. */
class Shelf implements LeaseStore {
  lease: Lease | null = null;
  version = 0;
  away = false;

  async read(): Promise<Lease | null> {
    if (this.away) throw new Error("no answer");
    return structuredClone(this.lease);
  }

  create(lease: Lease): Promise<Lease | null> {
    return this.#put(lease, this.lease === null);
  }

  replace(lease: Lease): Promise<Lease | null> {
    return this.#put(lease, lease.metadata.resourceVersion === this.lease?.metadata.resourceVersion);
  }

  async #put(lease: Lease, fits: boolean): Promise<Lease | null> {
    if (this.away) throw new Error("no answer");
    if (!fits) return null;
    this.lease = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(++this.version) } };
    return structuredClone(this.lease);
  }
}

class Replicas {
  now = 0;
  readonly shelf = new Shelf();
  readonly a = this.#election("a");
  readonly b = this.#election("b");

  #election(identity: string): Election {
    const clock = { now: () => this.now, date: () => new Date(Date.UTC(2030, 0, 1) + this.now) };
    return new Election(this.shelf, NAME, identity, TIMES, clock);
  }

  /** Both try every two seconds. */
  async pass(ms: number, who: readonly Election[] = [this.a, this.b]): Promise<void> {
    for (const until = this.now + ms; this.now < until; this.now += 2_000) {
      for (const election of who) await election.step().catch(() => {});
      expect(this.a.leads && this.b.leads).toBe(false);
    }
  }

  get leader(): string {
    return [this.a.leads ? "a" : "", this.b.leads ? "b" : ""].join("");
  }
}

describe("one replica leads", () => {
  test("the first that comes, for as long as it renews", async () => {
    const replicas = new Replicas();
    await replicas.pass(60_000);
    expect([replicas.leader, replicas.b.holder, replicas.shelf.lease?.spec.leaseTransitions]).toEqual(["a", "a", 0]);
  });

  test("another when the leader has said nothing for the duration, not before", async () => {
    const replicas = new Replicas();
    await replicas.pass(10_000);
    await replicas.pass(12_000, [replicas.b]);
    expect(replicas.b.leads).toBe(false);
    await replicas.pass(6_000, [replicas.b]);
    expect([replicas.leader, replicas.shelf.lease?.spec.leaseTransitions]).toEqual(["b", 1]);
    await replicas.pass(10_000);
    expect(replicas.leader).toBe("b");
  });

  test("the other at once when the leader lets go", async () => {
    const replicas = new Replicas();
    await replicas.pass(10_000);
    await replicas.a.release();
    expect(replicas.leader).toBe("");
    await replicas.b.step();
    expect(replicas.leader).toBe("b");
  });

  test("nobody while there is no API server, and the leader knows before another could begin", async () => {
    const replicas = new Replicas();
    await replicas.pass(10_000);
    replicas.shelf.away = true;
    await replicas.pass(6_000);
    expect(replicas.leader).toBe("a");
    await replicas.pass(4_000);
    expect(replicas.leader).toBe("");
    replicas.shelf.away = false;
    await replicas.pass(4_000);
    expect(replicas.leader).toBe("a");
  });

  test("a clock that is wrong by a year gives nobody the Lease", async () => {
    const replicas = new Replicas();
    await replicas.pass(4_000, [replicas.a]);
    const { lease } = replicas.shelf;
    const spec = { ...lease!.spec, renewTime: "2000-01-01T00:00:00.000000Z" };
    replicas.shelf.lease = { ...lease!, spec };
    await replicas.b.step();
    expect(replicas.leader).toBe("a");
  });

  test("a write that another overtook does not count", async () => {
    const replicas = new Replicas();
    const [read] = [replicas.shelf.read.bind(replicas.shelf)];
    await replicas.b.step();
    await replicas.b.release();
    // Both read the free Lease, then both write.
    const free = await read();
    replicas.shelf.read = async () => structuredClone(free);
    await Promise.all([replicas.a.step(), replicas.b.step()]);
    expect(replicas.leader).toBe("a");
  });
});
