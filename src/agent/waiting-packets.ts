const FIRST_SLOTS = 1024;
/** Tickets begin again behind it; as a small integer it takes no memory of its own wherever it is kept. */
const LAST_TICKET = 0x3fff_ffff;

/**
 * The packets that wait for a verdict, each under a ticket of its own. NFQUEUE counts its ids per queue, and a packet's
 * mark must come back with the verdict, so both are kept here, and which queue it came from.
 *
 * Tickets count up and are not given again before a thousand million others, so that a second verdict finds nothing,
 * and never another packet. A ticket's place is its last bits: no hashing, and nothing is allocated for a packet. A place
 * that a held packet has kept is passed over. As many wait as the queues let; half of the places stay free.
 */
export class WaitingPackets {
  /** 0: the place is free. */
  #tickets = new Int32Array(FIRST_SLOTS);
  #ids = new Uint32Array(FIRST_SLOTS);
  #marks = new Uint32Array(FIRST_SLOTS);
  #queues = new Uint8Array(FIRST_SLOTS);
  #last = 0;
  #size = 0;

  /** Packets that wait. */
  get size(): number {
    return this.#size;
  }

  /** Takes a packet in. `queue` is a number of the caller's, below 256. Returns its ticket, 1 or above. */
  add(queue: number, id: number, mark: number): number {
    if (this.#size * 2 >= this.#tickets.length) this.#grow();
    let ticket = this.#last;
    let slot: number;
    do {
      ticket = ticket === LAST_TICKET ? 1 : ticket + 1;
      slot = ticket & (this.#tickets.length - 1);
    } while (this.#tickets[slot] !== 0);
    this.#last = ticket;
    this.#tickets[slot] = ticket;
    this.#ids[slot] = id;
    this.#marks[slot] = mark;
    this.#queues[slot] = queue;
    this.#size++;
    return ticket;
  }

  /** Where the packet of this ticket is kept, until the next `add`; -1: it has its verdict. */
  find(ticket: number): number {
    const slot = ticket & (this.#tickets.length - 1);
    return ticket > 0 && this.#tickets[slot] === ticket ? slot : -1;
  }

  queueAt(slot: number): number {
    return this.#queues[slot]!;
  }

  idAt(slot: number): number {
    return this.#ids[slot]!;
  }

  markAt(slot: number): number {
    return this.#marks[slot]!;
  }

  /** The packet that `find` found there has its verdict. */
  removeAt(slot: number): void {
    this.#tickets[slot] = 0;
    this.#size--;
  }

  #grow(): void {
    const [tickets, ids, marks, queues] = [this.#tickets, this.#ids, this.#marks, this.#queues];
    const length = tickets.length * 2;
    this.#tickets = new Int32Array(length);
    this.#ids = new Uint32Array(length);
    this.#marks = new Uint32Array(length);
    this.#queues = new Uint8Array(length);
    // Different places before are different places now: a place tells one bit more of the same ticket.
    for (const [old, ticket] of tickets.entries()) {
      if (ticket === 0) continue;
      const slot = ticket & (length - 1);
      this.#tickets[slot] = ticket;
      this.#ids[slot] = ids[old]!;
      this.#marks[slot] = marks[old]!;
      this.#queues[slot] = queues[old]!;
    }
  }
}
