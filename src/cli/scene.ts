import type { AgentConfig } from "../model/config.ts";
import type { Policy, StandardKind } from "../model/policy.ts";
import { AgentConfigSpec } from "../policy/config-schema.ts";
import { toConfig } from "../policy/convert.ts";
import { type DocumentFile, DocumentReader, hasErrors, type LoadedDocuments } from "../policy/documents.ts";
import { formatProblem } from "../policy/problem.ts";
import { readPlainDocuments } from "../policy/source.ts";
import { compileProgram } from "../program/compile.ts";
import { openProgram, type Program } from "../program/program.ts";
import { readWorkloadFile } from "../workloads/file-source.ts";
import { readDocumentFiles } from "../workloads/files.ts";
import { IdentityTable } from "../workloads/identity.ts";
import type { WorkloadSnapshot } from "../workloads/objects.ts";
import { UsageError } from "./failure.ts";

export interface SceneSource {
  /** Files or folders of documents. */
  readonly policies: readonly string[];
  /** File of core/v1 Pod and Namespace objects. */
  readonly workloads: string;
  /** File with the AgentConfig; null: one among the policies, else none. */
  readonly config: string | null;
}

/** What decisions on paper are made of: the same documents and the same program as the agent's. */
export interface Scene {
  readonly program: Program;
  readonly pods: WorkloadSnapshot;
  readonly policies: readonly Policy[];
  readonly config: AgentConfig;
}

/** @throws UsageError with every error of the documents, a line each */
export function loadScene(source: SceneSource): Scene {
  const given = source.config === null ? null : loadOrThrow([source.config], null).configs[0];
  if (given === undefined) throw new UsageError(`no AgentConfig in \`${source.config}\``);
  const { policies, groups, configs } = loadOrThrow(source.policies, given?.sources ?? null);
  const config = given ?? configs[0];
  const read = readWorkloadFile(source.workloads, new IdentityTable(), readPlainDocuments);
  if (!read.ok) throw new UsageError(`workloads: ${read.problem}`);
  const { workloads } = read.snapshot;
  const whole = config ?? configOfNoCluster();
  const program = openProgram(compileProgram({ epoch: 1, policies, groups, workloads, config: whole }));
  return { program, pods: read.snapshot, policies, config: whole };
}

function loadOrThrow(paths: readonly string[], sources: readonly StandardKind[] | null): LoadedDocuments {
  // Warnings are for `validate`: they are not shown here, and looking for them takes longer than all the rest.
  const loaded = new DocumentReader(false).load(readDocuments(paths), sources);
  if (!hasErrors(loaded.problems)) return loaded;
  const errors = loaded.problems.filter(({ severity }) => severity === "error").map(formatProblem);
  throw new UsageError(`the documents have errors:\n${errors.join("\n")}`);
}

/** @throws UsageError a path cannot be read, or holds no documents */
export function readDocuments(paths: readonly string[]): readonly DocumentFile[] {
  try {
    return readDocumentFiles(paths);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Without an AgentConfig nothing is known of the cluster: no trusted resolver, and nothing is inside. */
function configOfNoCluster(): AgentConfig {
  const placeholder = AgentConfigSpec.parse({ resolvers: ["192.0.2.1"], podCIDRs: ["192.0.2.0/24"] });
  return { ...toConfig(placeholder), resolvers: [], agentResolvers: [], podCIDRs: [] };
}
