import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { BitString, Integer, OctetString, Utf8String } from 'asn1js';
import {
  AltName,
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  AlgorithmIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  PublicKeyInfo,
  RelativeDistinguishedNames,
  Time,
  TimeType,
} from 'pkijs';

/** Validity period of a certificate: one day, beginning an hour ago because of clock skew, when absent. */
export interface Validity {
  /** An hour ago when absent. */
  readonly notBefore?: Date;
  /** In a day when absent. */
  readonly notAfter?: Date;
}

/** Contents of a leaf certificate. */
export interface LeafOptions extends Validity {
  /**
   * Common name of the subject. The first DNS name when absent; an empty subject without any, as in Consul's leaves.
   */
  readonly commonName?: string;
  /** Subject alternative names of type `dNSName`, including wildcards (`*.example.com`). None when absent. */
  readonly dnsNames?: readonly string[];
  /**
   * Subject alternative names of type `uniformResourceIdentifier`, for example a SPIFFE ID:
   * `spiffe://TRUST_DOMAIN/ns/default/dc/dc1/svc/web`.
   */
  readonly uris?: readonly string[];
  /** Subject alternative names of type `iPAddress`: IPv4 or IPv6 addresses. */
  readonly addresses?: readonly string[];
  /** Extended key usage. Both when absent, since a mesh proxy is server and client. */
  readonly usage?: readonly ('server' | 'client')[];
}

/** Contents of a root certificate. */
export interface AuthorityOptions extends Validity {
  /** Subject alternative names, for example the trust domain as in Consul's roots: `spiffe://TRUST_DOMAIN`. */
  readonly uris?: readonly string[];
}

/** A leaf certificate with its key, in PEM, as `node:tls` accepts them. */
export interface IssuedCertificate {
  /** The leaf alone. */
  readonly certificate: string;
  /** The leaf, then each intermediate, without the root: a server's `cert`. */
  readonly chain: string;
  /** Private key, in PKCS #8. */
  readonly privateKey: string;
}

/** A throw-away certificate authority. Its key only exists in this process, unless it is exported. */
export interface CertificateAuthority {
  readonly name: string;
  /** Its own certificate, in PEM. The certificate of a root is a peer's `ca`. */
  readonly certificate: string;
  /** Private key, in PKCS #8: for programs that issue certificates in its name. */
  readonly privateKey: string;
  /** Issues a leaf with its own key. */
  issue(options: LeafOptions): IssuedCertificate;
  /** Creates an intermediate authority. Certificates that it issues include it in `chain`. */
  intermediate(name: string, validity?: Validity): CertificateAuthority;
}

/** Creates a root with its own key: ECDSA on P-256, like Consul's built-in CA. */
export function certificateAuthority(name: string, options: AuthorityOptions = {}): CertificateAuthority {
  const keys = newKeys();
  const root = { name, keys };
  return authority(name, { keys, certificate: certify(root, authorityTemplate(name, keys, options)), below: [] });
}

interface Keys {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** The issuer. */
interface Signer {
  readonly name: string;
  readonly keys: Keys;
}

/** The contents to be signed. */
interface Template extends Validity {
  readonly commonName: string | undefined;
  readonly keys: Keys;
  readonly extensions: readonly Extension[];
}

interface AuthorityParts {
  readonly keys: Keys;
  readonly certificate: string;
  /** Certificates between a leaf of this authority and the root, its own first; empty for the root. */
  readonly below: readonly string[];
}

function authority(name: string, { keys, certificate, below }: AuthorityParts): CertificateAuthority {
  const signer = { name, keys };
  return { name, certificate, privateKey: inPem(keys.privateKey), issue, intermediate };

  function issue(options: LeafOptions): IssuedCertificate {
    const leafKeys = newKeys();
    const leaf = certify(signer, leafTemplate(leafKeys, options));
    return { certificate: leaf, chain: [leaf, ...below].join(''), privateKey: inPem(leafKeys.privateKey) };
  }

  function intermediate(lowerName: string, validity: Validity = {}): CertificateAuthority {
    const lowerKeys = newKeys();
    const lower = certify(signer, authorityTemplate(lowerName, lowerKeys, validity));
    return authority(lowerName, { keys: lowerKeys, certificate: lower, below: [lower, ...below] });
  }
}

function inPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function newKeys(): Keys {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** Creates and signs a certificate of version 3 (RFC 5280). @returns PEM */
function certify(signer: Signer, template: Template): string {
  const { notBefore = hoursFromNow(-1), notAfter = hoursFromNow(24) } = template;
  const certificate = new Certificate({
    version: 2,
    serialNumber: serialNumber(),
    signature: ecdsaWithSha256(),
    signatureAlgorithm: ecdsaWithSha256(),
    issuer: distinguishedName(signer.name),
    notBefore: time(notBefore),
    notAfter: time(notAfter),
    subject: distinguishedName(template.commonName),
    subjectPublicKeyInfo: PublicKeyInfo.fromBER(spki(template.keys)),
    extensions: [...template.extensions, authorityKeyIdentifier(signer.keys)],
  });
  const signed = certificate.encodeTBS().toBER();
  certificate.tbsView = new Uint8Array(signed);
  certificate.signatureValue = new BitString({
    valueHex: exactBuffer(sign('sha256', new Uint8Array(signed), signer.keys.privateKey)),
  });
  return new X509Certificate(Buffer.from(certificate.toSchema(true).toBER())).toString();
}

// Object identifiers: https://oidref.com/2.5.29 and RFC 5758, section 3.2, for the signature.
const COMMON_NAME = '2.5.4.3';
const SUBJECT_KEY_IDENTIFIER = '2.5.29.14';
const KEY_USAGE = '2.5.29.15';
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

// RFC 5280, section 4.2.1.3: bit 0 is digitalSignature, bits 5 and 6 are keyCertSign and cRLSign, from the left.
const SIGNS_DATA = { bits: 0b1000_0000, unusedBits: 7 };
const SIGNS_CERTIFICATES = { bits: 0b0000_0110, unusedBits: 1 };

// RFC 5280, section 4.2.1.6: the choices of GeneralName.
const DNS_NAME = 2;
const URI = 6;
const IP_ADDRESS = 7;

function authorityTemplate(name: string, keys: Keys, { uris = [], ...validity }: AuthorityOptions): Template {
  const constraints = new BasicConstraints({ cA: true }).toSchema().toBER();
  const extensions = [
    new Extension({ extnID: BASIC_CONSTRAINTS, critical: true, extnValue: constraints }),
    keyUsage(SIGNS_CERTIFICATES),
    subjectKeyIdentifier(keys),
    ...(uris.length === 0 ? [] : [alternativeNameExtension(alternativeNames({ uris }), false)]),
  ];
  return { ...validity, commonName: name, keys, extensions };
}

function leafTemplate(keys: Keys, options: LeafOptions): Template {
  const { usage = ['server', 'client'], dnsNames = [] } = options;
  const names = alternativeNames(options);
  const extended = new ExtKeyUsage({ keyPurposes: usage.map((use) => USAGES[use]) }).toSchema().toBER();
  const commonName = options.commonName ?? dnsNames[0];
  const extensions = [
    keyUsage(SIGNS_DATA),
    new Extension({ extnID: EXTENDED_KEY_USAGE, critical: false, extnValue: extended }),
    subjectKeyIdentifier(keys),
    ...(names.length === 0 ? [] : [alternativeNameExtension(names, commonName === undefined)]),
  ];
  return { ...options, commonName, keys, extensions };
}

function alternativeNames({ dnsNames = [], uris = [], addresses = [] }: LeafOptions): readonly GeneralName[] {
  return [
    ...dnsNames.map((value) => new GeneralName({ type: DNS_NAME, value })),
    ...uris.map((value) => new GeneralName({ type: URI, value })),
    ...addresses.map((address) => {
      const value = new OctetString({ valueHex: exactBuffer(addressBytes(address)) });
      return new GeneralName({ type: IP_ADDRESS, value });
    }),
  ];
}

/** Critical if it is the only identification of the subject (RFC 5280, section 4.2.1.6). */
function alternativeNameExtension(names: readonly GeneralName[], critical: boolean): Extension {
  const extnValue = new AltName({ altNames: [...names] }).toSchema().toBER();
  return new Extension({ extnID: SUBJECT_ALTERNATIVE_NAME, critical, extnValue });
}

function keyUsage({ bits, unusedBits }: typeof SIGNS_DATA): Extension {
  const value = new BitString({ valueHex: exactBuffer(Uint8Array.of(bits)), unusedBits });
  return new Extension({ extnID: KEY_USAGE, critical: true, extnValue: value.toBER() });
}

function subjectKeyIdentifier(keys: Keys): Extension {
  const value = new OctetString({ valueHex: keyIdentifier(keys) });
  return new Extension({ extnID: SUBJECT_KEY_IDENTIFIER, critical: false, extnValue: value.toBER() });
}

function authorityKeyIdentifier(keys: Keys): Extension {
  const value = new AuthorityKeyIdentifier({ keyIdentifier: new OctetString({ valueHex: keyIdentifier(keys) }) });
  return new Extension({ extnID: AUTHORITY_KEY_IDENTIFIER, critical: false, extnValue: value.toSchema().toBER() });
}

/** Any function of the key is allowed (RFC 5280, section 4.2.1.2). */
function keyIdentifier(keys: Keys): ArrayBuffer {
  return exactBuffer(
    createHash('sha256')
      .update(new Uint8Array(spki(keys)))
      .digest()
      .subarray(0, 20),
  );
}

function spki({ publicKey }: Keys): ArrayBuffer {
  return exactBuffer(publicKey.export({ type: 'spki', format: 'der' }));
}

function distinguishedName(commonName: string | undefined): RelativeDistinguishedNames {
  const value = new Utf8String({ value: commonName ?? '' });
  const attribute = new AttributeTypeAndValue({ type: COMMON_NAME, value });
  return new RelativeDistinguishedNames({ typesAndValues: commonName === undefined ? [] : [attribute] });
}

function ecdsaWithSha256(): AlgorithmIdentifier {
  return new AlgorithmIdentifier({ algorithmId: ECDSA_WITH_SHA256 });
}

/** Encodes a time. From 2050 on, years have four digits (RFC 5280, section 4.1.2.5). */
function time(value: Date): Time {
  return new Time({ type: value.getUTCFullYear() < 2050 ? TimeType.UTCTime : TimeType.GeneralizedTime, value });
}

/** Returns a positive number that is large enough to be unique (RFC 5280, section 4.1.2.2). */
function serialNumber(): Integer {
  return new Integer({ valueHex: exactBuffer(Uint8Array.of(1, ...randomBytes(15))) });
}

function addressBytes(address: string): Uint8Array {
  if (isIP(address) === 4) return Uint8Array.from(address.split('.').map(Number));
  if (isIP(address) !== 6) throw new Error(`expected an IP address, found '${address}'`);
  // The URL parser accepts every notation, and shortens zeros to '::' at most once.
  const [leading = '', right] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const head = groups(leading);
  const tail = groups(right ?? '');
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0);
  return Uint8Array.from([...head, ...zeros, ...tail].flatMap((group) => [group >> 8, group & 0xff]));
}

function groups(text: string): readonly number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

/** Copies the bytes into their own buffer, since Node's are views of a larger one. */
function exactBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function hoursFromNow(hours: number): Date {
  return new Date(new Date().getTime() + hours * 3_600_000);
}
