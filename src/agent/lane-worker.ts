import { parentPort, workerData } from "node:worker_threads";
import { Lane } from "./lane.ts";
import type { LaneStart } from "./lane-messages.ts";

if (parentPort === null) throw new Error("the packet lane runs in a worker of the agent");
new Lane(parentPort as never, workerData as LaneStart).run();
