const FIRST_SLOTS = 1024;

/**
 * The packets that wait for a verdict, by a ticket that no other waiting packet has. NFQUEUE counts its ids per queue, and
 * a packet's mark must come back with the verdict, so both are kept here, and which queue it came from. Slots are used
 * again: taking one in and answering it allocates nothing. As many wait as the queues let.
 */
export class WaitingPackets {
  #ids = new Uint32Array(FIRST_SLOTS);
  #marks = new Uint32Array(FIRST_SLOTS);
  /** Number of the queue, counted from 1; 0: the slot is free. */
  #queues = new Uint8Array(FIRST_SLOTS);
  #free: number[] = [];
  #used = 0;
  #size = 0;

  /** Packets that wait. */
  get size(): number {
    return this.#size;
  }

  /** Takes a packet in; `queue` counts from 0. Returns its ticket. */
  add(queue: number, id: number, mark: number): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot === this.#queues.length) this.#grow();
    this.#ids[slot] = id;
    this.#marks[slot] = mark;
    this.#queues[slot] = queue + 1;
    this.#size++;
    return slot;
  }

  has(ticket: number): boolean {
    return this.#queues[ticket]! > 0;
  }

  /** Which queue the packet came from, counted from 0; -1: it does not wait any more. */
  queueOf(ticket: number): number {
    return (this.#queues[ticket] ?? 0) - 1;
  }

  idOf(ticket: number): number {
    return this.#ids[ticket]!;
  }

  markOf(ticket: number): number {
    return this.#marks[ticket]!;
  }

  /** It has its verdict; the ticket will be another's. */
  remove(ticket: number): void {
    if (!this.has(ticket)) return;
    this.#queues[ticket] = 0;
    this.#free.push(ticket);
    this.#size--;
  }

  #grow(): void {
    const length = this.#queues.length * 2;
    this.#ids = larger(this.#ids, new Uint32Array(length));
    this.#marks = larger(this.#marks, new Uint32Array(length));
    this.#queues = larger(this.#queues, new Uint8Array(length));
  }
}

function larger<T extends Uint32Array | Uint8Array>(old: T, fresh: T): T {
  fresh.set(old);
  return fresh;
}
