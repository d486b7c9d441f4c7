import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { OUTSIDE, PORTS } from "./addresses.ts";
import { must, together } from "./process.ts";

/** The private key that the partner's sshd accepts. */
export function clientKey(directory: string): string {
  return `${directory}/ssh/id_ed25519`;
}

/** `ssh root@partner.example` asks nothing and trusts the lab's own key: the lab tests reachability, not SSH. */
export function sshClientConfig(directory: string): string {
  return `Host *
  IdentityFile ${clientKey(directory)}
  IdentitiesOnly yes
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  LogLevel ERROR
  BatchMode yes
  ConnectTimeout 5
`;
}

/**
 * What a login gets instead of a shell: where it arrived, and on the word `hold` a tick every 200 ms to keep the
 * connection busy. The servers run on the machine's own files, so nothing the client sends is ever executed.
 */
const SESSION = `#!/bin/sh
set -- $SSH_CONNECTION
echo "reached=ssh address=$3 port=$4"
[ "$SSH_ORIGINAL_COMMAND" = hold ] || exit 0
n=0
while echo "tick $n"; do n=$((n + 1)); sleep 0.2; done
`;

/** Speaks first, as SMTP servers do, and answers enough of RFC 5321 for a client to say goodbye. */
const SMTP = `#!/bin/sh
printf '220 dns.google ESMTP lab\\r\\n'
while read -r line; do
  case "$line" in
    [Ee][Hh][Ll][Oo]*) printf '250-dns.google\\r\\n250 SIZE 1000000\\r\\n' ;;
    [Hh][Ee][Ll][Oo]*) printf '250 dns.google\\r\\n' ;;
    [Qq][Uu][Ii][Tt]*) printf '221 bye\\r\\n'; exit 0 ;;
    *) printf '250 reached=smtp\\r\\n' ;;
  esac
done
`;

/** Writes keys, scripts and configuration; answers where the sshd configuration is. */
export async function prepareShellServers(directory: string): Promise<{ sshd: string; smtp: string }> {
  const ssh = `${directory}/ssh`;
  await mkdir(ssh, { recursive: true, mode: 0o700 });
  await together(
    ["host_ed25519", "id_ed25519"].map((name) =>
      must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", `${ssh}/${name}`]),
    ),
  );
  const key = await readFile(`${clientKey(directory)}.pub`, "utf8");
  await writeFile(`${ssh}/session.sh`, SESSION);
  await writeFile(`${directory}/smtp.sh`, SMTP);
  await chmod(`${directory}/smtp.sh`, 0o644);
  await writeFile(`${ssh}/authorized_keys`, `restrict,command="sh ${ssh}/session.sh" ${key}`);
  await writeFile(`${ssh}/sshd_config`, sshdConfig(ssh));
  // sshd refuses to start without its empty privilege separation folder, which only a boot makes.
  await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  return { sshd: `${ssh}/sshd_config`, smtp: `${directory}/smtp.sh` };
}

function sshdConfig(ssh: string): string {
  const hosts = [OUTSIDE.partner, OUTSIDE.githubSsh, OUTSIDE.evil];
  const listen = hosts.flatMap(({ ipv4, ipv6 }) =>
    PORTS.ssh.flatMap((port) => [`ListenAddress ${ipv4}:${port}`, `ListenAddress [${ipv6}]:${port}`]),
  );
  return `${listen.join("\n")}
HostKey ${ssh}/host_ed25519
AuthorizedKeysFile ${ssh}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin forced-commands-only
UseDNS no
PidFile none
PrintMotd no
PrintLastLog no
MaxStartups 1000
LoginGraceTime 30
`;
}
