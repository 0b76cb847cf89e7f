#!/bin/sh
# Process 1 of the guest: mounts and groups as a host with systemd has them, with cgroup2 alone.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Built by a user, the disk's files are his.
[ "$(stat -c %u /var/lib)" = 0 ] || chown -R 0:0 /etc /guest /usr /var
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount --make-rshared /
hostname guest
ip link set lo up
root=/sys/fs/cgroup
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $root
mkdir $root/init.scope $root/system.slice $root/user.slice
echo 1 >$root/init.scope/cgroup.procs
echo "+cpu +io +memory +pids" >$root/cgroup.subtree_control
echo "+cpu +io +memory +pids" >$root/system.slice/cgroup.subtree_control
mkdir $root/system.slice/test.service $root/system.slice/outer.service
ulimit -n 1024
echo "guest: up"
# The kernel hands its parameter checks=… on to here.
for part in ${checks:-host nested runc unit}; do
    sh -c "echo \$\$ >$root/system.slice/test.service/cgroup.procs
        exec python3 -B /guest/checks.py $part" </dev/null 2>&1 &
    wait $! || echo "not ok 0 - $part: the checks ended early"
done
echo "guest: end"
sync
poweroff -f
