import { defineConfig } from "vitest/config";

/** `FUZZ=10` runs every property ten times as often. */
const fuzz = Math.max(1, Number(process.env["FUZZ"]) || 1);

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          testTimeout: 20_000 * fuzz,
          // Half of what takes long waits for something.
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: "lab",
          include: ["test/lab/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "cluster",
          include: ["test/cluster/**/*.test.ts"],
          globalSetup: ["test/cluster/shared-cluster.setup.ts"],
          setupFiles: ["test/cluster/tell-failures.setup.ts"],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
