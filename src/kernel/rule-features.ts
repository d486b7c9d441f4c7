import { type RunProgram, runProgram } from "./program.ts";

/** What the ruleset cannot do without, each tried alone: what the kernel must be built with, and the least rule that shows it. */
const FEATURES: readonly { readonly needs: string; readonly sets?: string; readonly rule: string }[] = [
  {
    needs: "nft `log` to a group (CONFIG_NFT_LOG, CONFIG_NETFILTER_NETLINK_LOG: `modprobe nft_log nfnetlink_log`)",
    rule: "log group 1 snaplen 48 queue-threshold 64",
  },
  {
    needs: "nft `reject` (CONFIG_NFT_REJECT_INET: `modprobe nft_reject_inet`)",
    rule: "reject with icmpx admin-prohibited",
  },
  { needs: "nft `fib` (CONFIG_NFT_FIB_INET: `modprobe nft_fib_inet`)", rule: "fib saddr . iif oif missing drop" },
  { needs: "nft `ct` (CONFIG_NFT_CT: `modprobe nft_ct`)", rule: "ct mark set ct mark or 0x1" },
  {
    needs: "sets whose elements have a rate of their own (Linux 5.7, CONFIG_NFT_LIMIT: `modprobe nft_limit`)",
    sets: "set rates {\ntype ipv4_addr\nflags dynamic,timeout\nsize 16\nlimit rate over 1000/second burst 125 packets\n}",
    rule: "update @rates { ip saddr timeout 10s }",
  },
];

/**
 * What the kernel here lacks of it, in words for people; empty: nothing. Changes nothing. No base chain, for the reason that `probeQueueMethod`
 * has.
 */
export async function missingFeatures(run: RunProgram = runProgram): Promise<string[]> {
  const tried = FEATURES.map(async ({ needs, sets = "", rule }) => {
    const text = `table inet sallyport_probe {\n${sets}\nchain probe {\n${rule}\n}\n}\n`;
    const { status } = await run(["nft", "-c", "-f", "-"], text);
    return status === 0 ? [] : [needs];
  });
  return (await Promise.all(tried)).flat();
}
