#!/bin/bash
# The first process of the test cluster's machine, started in namespaces of its own (machine.ts).
# Arguments: the machine's folder, its host name, the folder of programs.
#
# The host's file system is seen, never written: a root of its own on tmpfs, with /usr read-only, /etc under an overlay,
# and /var from the machine's folder. Kernel settings that kubelet insists on belong to the whole computer: it is shown
# files that hold the values it wants.
set -eu
folder=$1 hostname=$2 programs=$3
trap 'exit 0' TERM
hostname "$hostname"
mount --make-rprivate /
root=$folder/root
mkdir -p "$root" "$folder"/{var,tmp,etc-upper,etc-work,shown}
mount -t tmpfs -o mode=755 machine "$root"
mkdir -p "$root"/{usr,etc,dev,proc,sys,run,tmp,var,opt,root,mnt,old} "$root$programs"
mkdir -p "$folder"/var/{lib/kubelet/static,lib/containerd,log/pods,tmp,cache}
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then
    cp -a "/$name" "$root/$name"
  elif [ -d "/$name" ]; then
    mkdir "$root/$name"
    mount --bind "/$name" "$root/$name"
    mount -o remount,bind,ro "$root/$name"
  fi
done
mount --bind /usr "$root/usr"; mount -o remount,bind,ro "$root/usr"
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc-upper,workdir=$folder/etc-work" etc "$root/etc"
rm -rf "$root/etc/cni" "$root/etc/resolv.conf"
cp -r "$folder/etc/." "$root/etc/"
mount --rbind /dev "$root/dev"
mount --bind "$folder/var" "$root/var"
mount --bind "$folder/tmp" "$root/tmp"; chmod 1777 "$root/tmp"
mount -t tmpfs -o mode=755 run "$root/run"; ln -s /run "$root/var/run"
mkdir -p "$root$folder"; mount --bind "$folder" "$root$folder"
mount --bind "$programs" "$root$programs"; mount -o remount,bind,ro "$root$programs"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 cgroup "$root/sys/fs/cgroup"
while IFS=: read -r _ controllers _; do
  if [ -z "$controllers" ]; then name=unified type=cgroup2 options=rw
  else name=${controllers#name=} type=cgroup options=$controllers; fi
  mkdir "$root/sys/fs/cgroup/$name"
  mount -t $type -o "$options" cgroup "$root/sys/fs/cgroup/$name"
done </proc/self/cgroup
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  file=$folder/shown/${setting//[\/=]/_}
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "$root/proc/sys/${setting%=*}"
done
cd "$root"
pivot_root . old
umount -l old
rmdir /old
# What a pod mounts must be seen by others where it says so (mount propagation), inside this machine only.
mount --make-rshared /
ip link set lo up
echo $$ >"$folder/ready"
# Containers' shims become children of this process: wait collects them.
while :; do sleep 1000 & wait $! || :; done
