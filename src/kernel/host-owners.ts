import { ENOENT } from "./libc.ts";
import { TABLE_NAME } from "./ruleset.ts";
import { HOST_OWNERS } from "./ruleset-host.ts";
import { SetElements } from "./set-elements.ts";

/** What the kernel remembers of whose ports are (ruleset-host.ts), as the packet lane takes it back. A system call each. */
export class HostOwners {
  readonly #elements = new SetElements(TABLE_NAME);

  /** This pod has this port no more. Returns 0, also where it had not, or the error number. */
  forget(protocol: number, port: number, priority: number): number {
    const key = new Uint8Array(12);
    const view = new DataView(key.buffer);
    view.setUint8(0, protocol);
    view.setUint16(4, port);
    // As this machine keeps a packet's priority.
    key.set(new Uint8Array(Uint32Array.of(priority).buffer), 8);
    return gone(this.#elements.change({ kind: "delete", set: HOST_OWNERS, keys: [key] }));
  }

  /** Nobody has any. */
  forgetAll(): number {
    return gone(this.#elements.change({ kind: "flush", sets: [HOST_OWNERS] }));
  }

  close(): void {
    this.#elements.close();
  }
}

function gone(error: number): number {
  return error === ENOENT ? 0 : error;
}
