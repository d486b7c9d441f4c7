import { HostOwners } from "../../kernel/host-owners.ts";
import { errnoName } from "../../kernel/libc.ts";
import { now } from "../steady-time.ts";
import { type OwnedPort, OwnedPorts } from "./owned-ports.ts";

/** A second, of one pod: each costs the lane a transaction of nf_tables. Two pods that share a port (SO_REUSEPORT) take it from each other. */
const MOST_TAKEN = 100;
const SECOND_MS = 1_000;

type Owners = Pick<HostOwners, "forget" | "forgetAll" | "close">;

/** Sees to it that what the kernel remembers of a pod of the host's network holds for that one alone. */
export class PortKeeper {
  readonly #flush: () => void;
  readonly #onTrouble: (message: string) => void;
  readonly #open: () => Owners;
  readonly #ports = new OwnedPorts();
  readonly #taken = new Map<number, number>();
  #second = 0;
  #owners: Owners | null = null;

  /** `flush`: before anything is taken back the kernel has to have all answers that were given. */
  constructor(flush: () => void, onTrouble: (message: string) => void, open: () => Owners = () => new HostOwners()) {
    this.#flush = flush;
    this.#onTrouble = onTrouble;
    this.#open = open;
  }

  /** The pod with this tag in its packets' priority sends by a port. False: whose it was is still believed, so the packet must not go. */
  take(protocol: number, port: number, priority: number): boolean {
    const owners = this.#owners ?? this.#begin();
    if (owners === null) return false;
    const before = this.#ports.take(protocol, port, priority);
    if (before === null) return true;
    if (before !== "all" && !this.#mayTake(priority)) {
      this.#ports.take(protocol, port, before.priority);
      return false;
    }
    this.#flush();
    const error = before === "all" ? owners.forgetAll() : owners.forget(before.protocol, before.port, before.priority);
    if (error === 0) return true;
    this.#onTrouble(`whose port it was stays in the kernel: ${errnoName(error)}`);
    // From the start: nothing is believed before all of it is forgotten.
    owners.close();
    this.#owners = null;
    return false;
  }

  /** Nobody has taken the port from it since. */
  isStill({ protocol, port, priority }: OwnedPort): boolean {
    return this.#ports.ownerOf(protocol, port) === priority;
  }

  close(): void {
    this.#owners?.close();
  }

  /** What a lane before this one answered is not known here. */
  #begin(): Owners | null {
    const owners = this.#open();
    const error = owners.forgetAll();
    if (error === 0) this.#owners = owners;
    else {
      this.#onTrouble(`whose ports are whose stays in the kernel: ${errnoName(error)}`);
      owners.close();
    }
    return this.#owners;
  }

  #mayTake(priority: number): boolean {
    const time = now();
    if (time - this.#second >= SECOND_MS) {
      this.#second = time;
      this.#taken.clear();
    }
    const taken = (this.#taken.get(priority) ?? 0) + 1;
    this.#taken.set(priority, taken);
    return taken <= MOST_TAKEN;
  }
}
