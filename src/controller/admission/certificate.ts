import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import {
  bitString,
  boolean,
  type Der,
  explicit,
  implicit,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
  time,
  unsigned,
  utf8String,
} from "./der.ts";

/** A serving certificate with the one CA that vouches for it. All PEM. */
export interface ServingPair {
  readonly certificate: string;
  /** PKCS #8. */
  readonly key: string;
  readonly ca: string;
}

const OID = {
  commonName: "2.5.4.3",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

/** Whose clock is behind must not take it for one of tomorrow. */
const BACKDATED_MS = 60 * 60_000;
const SERIAL_BYTES = 16;

/**
 * Makes a CA that signs one certificate, for servers called `name`, and is then unable to sign another: its key is nowhere kept. So whoever trusts
 * the CA trusts that certificate. `now`: milliseconds of Unix time.
 */
export function makeServingPair(name: string, lifeMs: number, now: number): ServingPair {
  const validity = { from: new Date(now - BACKDATED_MS), until: new Date(now + lifeMs) };
  const authority = keyPair();
  const serving = keyPair();
  const issuer = commonName(`Sallyport webhook CA ${randomBytes(8).toString("hex")}`);
  const authorityId = keyIdOf(authority.spki);
  const ca = certificate({
    issuer,
    subject: issuer,
    spki: authority.spki,
    signer: authority.privateKey,
    validity,
    extensions: [
      extension(OID.basicConstraints, true, sequence(boolean(true), unsigned(Buffer.from([0])))),
      extension(OID.keyUsage, true, KEY_USAGE.keyCertSign),
      extension(OID.subjectKeyIdentifier, false, octetString(authorityId)),
    ],
  });
  const leaf = certificate({
    issuer,
    subject: commonName("sallyport-webhook"),
    spki: serving.spki,
    signer: authority.privateKey,
    validity,
    extensions: [
      extension(OID.basicConstraints, true, sequence()),
      extension(OID.keyUsage, true, KEY_USAGE.digitalSignature),
      extension(OID.extendedKeyUsage, false, sequence(objectIdentifier(OID.serverAuth))),
      extension(OID.subjectAltName, false, sequence(implicit(2, Buffer.from(name, "ascii")))),
      extension(OID.subjectKeyIdentifier, false, octetString(keyIdOf(serving.spki))),
      extension(OID.authorityKeyIdentifier, false, sequence(implicit(0, authorityId))),
    ],
  });
  const key = serving.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  return { certificate: pem(leaf), key, ca: pem(ca) };
}

/** RFC 5280 §4.2.1.3: bits from the left. */
const KEY_USAGE = {
  digitalSignature: bitString(Buffer.from([0x80]), 7),
  keyCertSign: bitString(Buffer.from([0x04]), 2),
} as const;

const SIGNATURE_ALGORITHM = sequence(objectIdentifier(OID.ecdsaWithSha256));
const VERSION_3 = explicit(0, unsigned(Buffer.from([2])));

interface Keys {
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo. */
  readonly spki: Der;
}

function keyPair(): Keys {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { privateKey, spki: publicKey.export({ type: "spki", format: "der" }) };
}

interface Content {
  readonly issuer: Der;
  readonly subject: Der;
  readonly spki: Der;
  readonly signer: KeyObject;
  readonly validity: { readonly from: Date; readonly until: Date };
  readonly extensions: readonly Der[];
}

/** RFC 5280 §4.1. */
function certificate({ issuer, subject, spki, signer, validity, extensions }: Content): Der {
  const serial = randomBytes(SERIAL_BYTES);
  // Positive, and as long as it was asked for.
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  const signed = sequence(
    VERSION_3,
    unsigned(serial),
    SIGNATURE_ALGORITHM,
    issuer,
    sequence(time(validity.from), time(validity.until)),
    subject,
    spki,
    explicit(3, sequence(...extensions)),
  );
  return sequence(signed, SIGNATURE_ALGORITHM, bitString(sign("sha256", signed, signer)));
}

function commonName(text: string): Der {
  return sequence(setOf(sequence(objectIdentifier(OID.commonName), utf8String(text))));
}

function extension(oid: string, critical: boolean, value: Der): Der {
  return sequence(objectIdentifier(oid), ...(critical ? [boolean(true)] : []), octetString(value));
}

/** RFC 7093 §2 (1): 160 bits of the hash of the key. */
function keyIdOf(spki: Der): Buffer {
  return createHash("sha256").update(spki).digest().subarray(0, 20);
}

function pem(der: Der): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
