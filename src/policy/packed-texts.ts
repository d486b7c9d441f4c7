import { GatheredTexts } from "./gathered-texts.ts";

/** Makes texts small. */
export interface TextPacker {
  pack(text: string | Uint8Array): Uint8Array;
  unpack(bytes: Uint8Array): string;
}

/** Texts that are put away together: alike as they are, they take a fraction of what each alone would. */
const TOGETHER = 256;
/** Bytes beyond which no more texts come to them: whoever asks for one of them makes all of them. */
const LONG = 128 * 1024;
/** Bytes that may lie beside the living ones, so that few changes cost nothing. */
const LEAST_WASTE = 4 * 1024 * 1024;

/** Some texts without line feeds (JSON has none); once put away, what a packer makes of them. */
export class PackedTexts {
  #texts: GatheredTexts | Uint8Array;
  readonly #packing: TextPacking;

  /** Bytes of all of them, once they are put away; 0 before. */
  size = 0;

  constructor(texts: GatheredTexts, packing: TextPacking) {
    this.#texts = texts;
    this.#packing = packing;
  }

  of(index: number): string {
    return this.#texts instanceof GatheredTexts ? this.#texts.of(index) : this.#packing.unpack(this.#texts)[index]!;
  }

  putAway(): void {
    if (!(this.#texts instanceof GatheredTexts)) return;
    this.size = this.#texts.size;
    this.#texts = this.#packing.pack(this.#texts);
  }

  /** All of them, put away, with a line feed between. */
  get packed(): Uint8Array {
    return this.#texts instanceof GatheredTexts ? this.#packing.packed(this.#texts) : this.#texts;
  }
}

/** Where a text is: among others. */
export interface PackedPlace {
  readonly texts: PackedTexts;
  readonly index: number;
  /** Characters of it. */
  readonly length: number;
}

/** Whoever has a text, wherever that is. */
export interface TextHolder {
  place: PackedPlace;
}

/** Gathers texts as they come. */
export class TextPacking {
  readonly #packer: TextPacker;
  readonly #eager: boolean;
  /** Characters that have come since texts were moved together last, and what lived then. */
  #come = 0;
  #lived = 0;
  #gathering: GatheredTexts | null = null;
  #texts: PackedTexts | null = null;
  /** Room of what was put away. */
  #spare: GatheredTexts | null = null;
  /** Whoever asks for one text asks for the next one, too. */
  #last: { readonly bytes: Uint8Array; readonly texts: readonly string[] } | null = null;

  /** `eager`: texts are put away as soon as there are enough of them, so that there never are many that lie about. */
  constructor(packer: TextPacker, eager = false) {
    this.#packer = packer;
    this.#eager = eager;
  }

  /** Where the text is from now on. */
  add(text: string): PackedPlace {
    let gathering = this.#gathering;
    if (gathering === null || gathering.count === TOGETHER || gathering.size > LONG) gathering = this.#begin();
    this.#come += text.length;
    return { texts: this.#texts!, index: gathering.add(text), length: text.length };
  }

  /** As much as lives may lie about dead: a block stays for as long as one of its texts is held, and who writes texts may choose which. */
  get isWasteful(): boolean {
    return this.#come > Math.max(LEAST_WASTE, this.#lived);
  }

  /** Moves what lives out of blocks of which most is dead. `holders`: of all texts that live. */
  moveTogether(holders: Iterable<TextHolder>): void {
    const blocks = new Map<PackedTexts, TextHolder[]>();
    this.#lived = 0;
    for (const holder of holders) {
      const { texts, length } = holder.place;
      this.#lived += length;
      const others = blocks.get(texts);
      if (others === undefined) blocks.set(texts, [holder]);
      else others.push(holder);
    }
    for (const [texts, some] of blocks) {
      const living = some.reduce((sum, { place }) => sum + place.length, 0);
      if (living * 2 >= texts.size) continue;
      for (const holder of some) holder.place = this.add(texts.of(holder.place.index));
    }
    this.#last = null;
    this.#come = 0;
  }

  /** What comes from now on has nothing to do with what came before, and will not change with it. */
  next(): void {
    this.#gathering = null;
    this.#texts = null;
  }

  /** What was gathered last takes little memory, too. */
  putAway(): void {
    this.#texts?.putAway();
    this.#last = null;
    this.#spare = null;
  }

  /** @returns what stands in their place from now on */
  pack(texts: GatheredTexts): Uint8Array {
    if (texts === this.#gathering) this.next();
    const packed = this.packed(texts);
    this.#spare = texts;
    return packed;
  }

  packed(texts: GatheredTexts): Uint8Array {
    return this.#packer.pack(texts.bytes);
  }

  unpack(bytes: Uint8Array): readonly string[] {
    if (this.#last?.bytes !== bytes) this.#last = { bytes, texts: this.#packer.unpack(bytes).split("\n") };
    return this.#last.texts;
  }

  #begin(): GatheredTexts {
    if (this.#eager) this.#texts?.putAway();
    const gathering = this.#spare ?? new GatheredTexts();
    this.#spare = null;
    gathering.clear();
    this.#gathering = gathering;
    this.#texts = new PackedTexts(gathering, this);
    return gathering;
  }
}
