export type ProblemCode =
  | "Unreadable"
  | "UnknownKind"
  | "UnknownField"
  | "Missing"
  | "Structure"
  | "Check"
  | "NotSupported"
  | "Duplicate"
  | "TooMany"
  | "HttpOnTlsPort"
  | "DomainsWithoutPorts"
  | "NoSuchGroup"
  | "ShadowedRule"
  | "AllowsPort53"
  | "LeftOut"
  | "EmptyPolicy"
  | "EmptyEntry"
  | "SelectsNothing"
  | "OpenToAnybody"
  | "ConfigSuspect";

/** What is wrong, where, and what would be right. An error keeps the documents from being used; a warning does not. */
export interface Problem {
  readonly severity: "error" | "warning";
  readonly code: ProblemCode;
  readonly file: string;
  /** Lines and columns count from 1. */
  readonly line: number;
  readonly column: number;
  /** One line. */
  readonly message: string;
}

/** `file:line:column: message`, with `warning: ` before a warning's message. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, severity, message } = problem;
  return `${file}:${line}:${column}: ${severity === "warning" ? "warning: " : ""}${message}`;
}
