#!/bin/bash
# Installs what is missing on a Debian machine, says what, and does nothing the second time.
#   setup.sh              Debian packages and npm packages
#   setup.sh bench        the same, and what the measurements need: rivals and a C compiler
#   setup.sh image        the same as without, and what the image is packed with
#   setup.sh cluster      the same, and what the cluster of the tests is made with, but Go
#   setup.sh node         npm packages (with Node 24 among them) only
#   setup.sh root TARGET  only checks that TARGET runs as root
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

fail() {
  echo "setup: $1" >&2
  exit 2
}

# command:package. Commands are looked for, not packages: what was built by hand counts too.
NEEDED="nft:nftables iptables-nft:iptables conntrack:conntrack ip:iproute2 knotd:knot unbound:unbound nginx:nginx-light
sshd:openssh-server ssh:openssh-client socat:socat dig:bind9-dnsutils curl:curl openssl:openssl nc.openbsd:netcat-openbsd
ping:iputils-ping ps:procps /lib/systemd/systemd:systemd"
# What the measurements run besides; a path is looked for as a file.
BENCH="haproxy:haproxy squid:squid-openssl gcc:gcc /usr/include/stdio.h:libc6-dev
/usr/lib/nginx/modules/ngx_stream_module.so:libnginx-mod-stream"
CLUSTER="/usr/lib/cni/ptp:containernetworking-plugins /bin/busybox:busybox-static gcc:gcc pkg-config:pkg-config
/usr/include/seccomp.h:libseccomp-dev /usr/include/stdio.h:libc6-dev musl-gcc:musl-tools"
IMAGE="strip:binutils tar:tar"
# Packages that bring a daemon: not to be started now, nor at the next boot.
DAEMONS="knot unbound nginx-light openssh-server haproxy squid-openssl"

missing_packages() {
  local pair missing=""
  for pair in $NEEDED; do
    command -v "${pair%%:*}" >/dev/null || [ -f "${pair%%:*}" ] || missing="$missing ${pair#*:}"
  done
  echo "$missing"
}

POLICY=/usr/sbin/policy-rc.d
remove_policy() { if [ "${policy_is_ours:-}" = yes ]; then rm -f "$POLICY"; fi; }

install_packages() {
  local missing log
  missing=$(missing_packages)
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "missing:$missing; \`apt-get\` is not here, install them by hand"
  [ "$(id -u)" = 0 ] || fail "missing:$missing; run \`make setup\` as root once"
  echo "setup: installing Debian packages:$missing"
  # invoke-rc.d and deb-systemd-invoke start nothing while this file answers 101.
  if [ ! -e "$POLICY" ]; then
    trap remove_policy EXIT
    trap 'exit 130' INT TERM HUP
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
  fi
  log=$(mktemp)
  # shellcheck disable=SC2086
  if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o Dpkg::Options::=--force-confold $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    fail "apt-get failed; its log is \`$log\`"
  fi
  rm -f "$log"
  remove_policy
  policy_is_ours=
  leave_disabled "$missing"
  missing=$(missing_packages)
  [ -z "$missing" ] || fail "still missing after the installation:$missing"
}

leave_disabled() {
  [ -d /run/systemd/system ] || return 0
  local package unit
  for package in $DAEMONS; do
    case "$1 " in *" $package "*) ;; *) continue ;; esac
    case $package in nginx-light) unit=nginx ;; openssh-server) unit=ssh ;; squid-openssl) unit=squid ;; *) unit=$package ;; esac
    systemctl disable --quiet "$unit" 2>/dev/null || true
  done
}

install_node_modules() {
  local stamp=node_modules/.sallyport-setup want version
  want=$(cat package.json package-lock.json .npmrc | sha256sum)
  if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then return 0; fi
  # The machine's own Node runs npm: the one in node_modules is about to be replaced.
  PATH=${PATH//"$PWD/node_modules/.bin:"/}
  command -v node >/dev/null || fail "no \`node\` on this machine; install Node.js 20 or newer with npm (Debian: \`apt-get install nodejs npm\`)"
  version=$(node --version 2>/dev/null) || fail "\`$(command -v node)\` does not run; install Node.js 20 or newer"
  version=${version#v}
  [ "${version%%.*}" -ge 20 ] || fail "\`node\` is $version; install Node.js 20 or newer"
  command -v npm >/dev/null || fail "\`node\` is here but \`npm\` is not; install it (Debian: \`apt-get install npm\`)"
  echo "setup: installing npm packages with node $version, npm $(npm --version 2>/dev/null)"
  npm ci --loglevel=error --no-progress </dev/null || fail "\`npm ci\` failed; its messages are above"
  check_node
  echo "$want" >"$stamp"
  echo "setup: Sallyport runs on node $(PATH=$PWD/node_modules/.bin:$PATH node --version)"
}

# TypeScript files run as they are from Node 22.18 on; node_modules holds 24 for x64 and arm64 (the packages that the npm
# package `node` fetches from a script; no install script runs here). npm 10 does not link its command.
check_node() {
  local binary
  for binary in node_modules/node-linux-*/bin/node; do
    if [ -x "$binary" ] && "$binary" --version >/dev/null 2>&1; then ln -sfn "../${binary#node_modules/}" node_modules/.bin/node; fi
  done
  PATH=$PWD/node_modules/.bin:$PATH node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 22 || (major === 22 && minor >= 18) ? 0 : 1)' ||
    fail "no Node 22.18 or newer for $(uname -m) came with npm; install Node.js 24 on this machine"
}

case ${1:-all} in
  all)
    install_packages
    install_node_modules
    echo "setup: everything is in place"
    ;;
  bench)
    NEEDED="$NEEDED $BENCH"
    install_packages
    install_node_modules
    ;;
  cluster)
    NEEDED="$NEEDED $IMAGE $CLUSTER"
    install_packages
    install_node_modules
    ;;
  image)
    NEEDED="$NEEDED $IMAGE"
    install_packages
    install_node_modules
    ;;
  node) install_node_modules ;;
  root) [ "$(id -u)" = 0 ] || fail "\`make $2\` needs root: it makes network namespaces and nftables rules" ;;
  *) fail "unknown argument \`$1\`; there are: bench, cluster, image, node, root TARGET" ;;
esac
