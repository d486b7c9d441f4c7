import { hash } from "node:crypto";
import { type Fields, generationOf, type Hold, type KubeObject } from "../../kube/object.ts";
import { type PackedPlace, type TextPacker, TextPacking } from "../../policy/packed-texts.ts";
import { lineOf, objectOf, textOf } from "./object-line.ts";

/**
 * Holds the objects of which a cluster has thousands, and of which few concern the node: as text that is put away with others, a
 * twentieth to a fiftieth of what they take as objects. What is asked of each of them again and again is kept beside it.
 */
export class ObjectPacking {
  readonly #texts: TextPacking;

  constructor(packer: TextPacker) {
    this.#texts = new TextPacking(packer, true);
  }

  readonly hold: Hold = (object) => new PackedObject(object, this.pack(object));

  pack(object: KubeObject): Packed {
    const text = textOf(object.value);
    return { digest: digestOf(text), place: this.#texts.add(lineOf(object, text)) };
  }

  /** Something has changed: these are all objects that are held. */
  changed(objects: Iterable<KubeObject>): void {
    if (this.#texts.isWasteful) this.#texts.moveTogether(packedOf(objects));
  }

  putAway(): void {
    this.#texts.putAway();
  }
}

/** What is kept of an object's value. */
export interface Packed {
  readonly digest: string;
  /** Of its line. */
  readonly place: PackedPlace;
}

export class PackedObject implements KubeObject {
  readonly key: string;
  readonly uid: string;
  readonly generation: number;
  readonly #digest: string;
  /** Of its line. */
  place: PackedPlace;

  constructor(object: KubeObject, { digest, place }: Packed) {
    this.key = object.key;
    this.uid = object.uid;
    this.generation = generationOf(object);
    this.#digest = digest;
    this.place = place;
  }

  get value(): Fields {
    const { texts, index } = this.place;
    return objectOf(texts.of(index)).value;
  }

  is(value: Fields): boolean {
    return digestOf(textOf(value)) === this.#digest;
  }
}

function* packedOf(objects: Iterable<KubeObject>): Generator<PackedObject> {
  for (const object of objects) if (object instanceof PackedObject) yield object;
}

/** Of 32 bytes: nobody finds two texts that have the same, so no change can be made to look like none. */
function digestOf(text: string): string {
  return hash("sha256", text, "binary");
}
