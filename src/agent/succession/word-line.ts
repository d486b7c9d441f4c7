import type { Socket } from "node:net";

/**
 * What two agents say to each other, one word a line:
 *
 *     the new one   `retire`     let me put my ruleset in the place of yours
 *     the old one   `retiring`   do; I change nothing any more, and go on with the flows that I follow
 *     the new one   `installed`  it is done, and I know what is open
 *     the old one   `leaving`    I follow nothing any more, or long enough
 *     the new one   `alone`      nothing is asked of you any more
 *
 * The end of the connection is the end of the other.
 */
export type Word = "retire" | "retiring" | "installed" | "leaving" | "alone";

const LONGEST = 256;

/** Hands over each line that comes. A talker that sends no lines is cut off. */
export function onWords(socket: Socket, take: (word: string) => void): void {
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LONGEST) socket.destroy();
    for (const line of lines) take(line);
  });
}

export function say(socket: Socket, word: Word): void {
  if (!socket.destroyed) socket.write(`${word}\n`);
}
