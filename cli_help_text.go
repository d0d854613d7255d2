// The help texts. Each shows the command at work first; the flags come after the examples.
// They are constants, so they cost a start nothing.

package main

const helpHead = `runh runs OCI containers: Hermit applications in a virtual machine, all others
as ordinary Linux containers.

usage: runh [global flags] COMMAND [flags] [ID] [arguments]

  # runh spec --bundle hello --args /hermit/app   write hello/config.json
  # runh run --bundle hello hello1                run it, wait for its end
  # docker run --rm --runtime=runh IMAGE          the same from Docker

commands:
`

const helpTail = `  help        show this, or a command's help: runh help run
  version     print the version

global flags:
  --root DIR            where containers are recorded (/run/runh;
                        $XDG_RUNTIME_DIR/runh for other users than root)
  --log FILE            append errors, and what --log-level asks for, to FILE,
                        which must open (kill and delete go on without it)
  --log-format FORMAT   text (default) or json
  -l, --log-level LEVEL error (default), warn, info, debug, trace; off is error
  --debug               the same as --log-level debug; without --log on stderr
  --debug-log           write everything to ROOT/log-TIME.json, too
  --debug-config        keep a copy of each config in ROOT/container-ID.json
  --systemd-cgroup      cgroupsPath is slice:prefix:name; systemd makes it
  --rootless WHEN       true, false, auto (default): do without cgroups that may
                        not be made; auto: for other users than root
  --hermit-env DIR      the tree QEMU runs from (ROOT/hermit)
  --config FILE         runh's own settings (/etc/runh/config.toml)
  --criu PATH           for checkpoint and restore of Linux containers
  -v, --version         print the version
  -h, --help            print this, or after a command its help
`

const helpHelp = `runh help [COMMAND] - print the list of commands, or one command's help

  # runh help
  # runh help run
  # runh run --help               the same
`

const helpVersion = `runh version - print the version, the commit and the version of the specification

  # runh version
  # runh --version                the same
`

const helpCreate = `runh create [flags] ID - make a container and stop just before its program

  # runh spec --bundle hello --args /bin/date
  # runh create --bundle hello hello1
  # runh state hello1 | jq -r .status
  created
  # runh start hello1
  Mon Nov 23 15:00:00 UTC 2026
  # runh delete hello1

The container's stdin, stdout and stderr are those of this command. If any step
fails, its name and cause are printed and nothing remains of the container.

A program that wants a terminal needs a socket to send it to:

  # runh create --bundle sh --console-socket /run/console.sock sh1

flags:
  -b, --bundle DIR        the directory of config.json (default: this one)
  --pid-file FILE         write the pid of the container's first process here
  --console-socket PATH   send the terminal to the listener on this unix socket
  --pidfd-socket PATH     send a descriptor of the first process there
  --preserve-fds N        hand over descriptors 3 to 3+N-1 that are open
  --no-pivot              do not use pivot_root: for a rootfs on a ramdisk
  --no-new-keyring        keep the caller's session keyring
`

const helpRun = `runh run [flags] ID - create and start, and wait for the end

  # runh spec --bundle hello --args /bin/sh -- -c 'echo hi; exit 3'
  # runh run --bundle hello hello1
  hi
  # echo $?
  3

The exit code is the program's, 128 + N if signal N ended it. Signals are passed
on. In the background, to be deleted by hand:

  # runh run --detach --bundle server server1 >server.log 2>&1 </dev/null
  # runh kill server1 TERM
  # runh delete server1

flags:
  -d, --detach            return once the program runs
  --keep                  do not delete the container at its end
  --no-subreaper          leave orphaned processes to the system's init
  -b, --bundle DIR        the directory of config.json (default: this one)
  --pid-file FILE         write the pid of the container's first process here
  --console-socket PATH   send the terminal to the listener on this unix socket
  --pidfd-socket PATH     send a descriptor of the first process there
  --preserve-fds N        hand over descriptors 3 to 3+N-1 that are open
  --no-pivot              do not use pivot_root: for a rootfs on a ramdisk
  --no-new-keyring        keep the caller's session keyring
`

const helpStart = `runh start ID - let a created container's program go

  # runh create --bundle server server1
  # runh start server1
  # runh start server1
  runh: start: cannot start an already running container

It returns once the program has been executed and the poststart hooks have run.
`

const helpState = `runh state ID - print what is known of a container, as JSON

  # runh state hello1
  {
    "ociVersion": "1.3.0",
    "id": "hello1",
    "pid": 4711,
    "status": "running",
    ...
  # runh state hello1 | jq -r .status
  running

The status is creating, created, running, paused or stopped; pid is 0 when
stopped. It never waits for another command.
`

const helpList = `runh list [flags] - list the containers of this root

  # runh list
  ID          PID         STATUS      BUNDLE        CREATED                OWNER
  hello1      4711        running     /srv/hello    2026-11-23T15:00:00Z   root
  # runh list -q
  hello1
  # runh list -f json | jq -r '.[] | select(.status == "stopped").id'
  # runh --root /run/docker/runtime-runc/moby list

flags:
  -f, --format FORMAT   table (default) or json
  -q, --quiet           print the IDs only
`

const helpKill = `runh kill [flags] ID [SIGNAL] - send a signal to a container

  # runh kill hello1               TERM, to the first process
  # runh kill hello1 KILL
  # runh kill hello1 SIGUSR1       also: usr1, 10, RTMIN+3
  # runh kill --all hello1 9       to every process of the container
  # runh kill hello1 0             only ask whether it is there

A container that has ended gives "container not running" and exit code 1; with
--all what is left of it is signalled, and nothing left is no error. KILL also
ends a paused container.

flags:
  -a, --all   signal all processes, not the first only
`

const helpDelete = `runh delete [flags] ID - remove a container and all that create made

  # runh delete hello1
  # runh delete server1
  runh: delete: cannot delete container server1 that is not stopped: running
  # runh delete --force server1

The cgroup, mounts, network links and the record go; the bundle stays. A created
container that was not started is ended first.

flags:
  -f, --force   kill it first; also ends a create that hangs, removes what a
                killed create left, and an ID that does not exist is no error
`

const helpSpec = `runh spec [flags] - write a starting config.json

  # mkdir -p hello/rootfs && cd hello
  # docker export $(docker create busybox) | tar -C rootfs -x
  # runh spec && runh run hello1               a shell on this terminal
  # rm config.json
  # runh spec --args /bin/date                 a program without a terminal
  # rm config.json
  # runh spec --args /bin/sh -- -c 'echo hi'   its own flags after --

A Hermit application is just another program:

  # runh spec --bundle hello --args /hermit/app

flags:
  -b, --bundle DIR    write it into DIR (default: this one)
  -a, --args ARG...   the program and its arguments (default: sh, on a terminal)
  --rootless          for use by an ordinary user
`

const helpFeatures = `runh features - print what this build supports, as JSON

  # runh features | jq -r .ociVersionMax
  1.3.0
  # runh features | jq '.mountOptions | index("rro") != null'
  true
`

const helpExec = `runh exec [flags] ID COMMAND [ARG...] - run another process in a container

  # runh exec server1 ps -ef
  # runh exec -t server1 sh                     on a terminal
  # runh exec -u 1000:1000 -e LANG=C --cwd /tmp server1 id
  # runh exec --detach --pid-file p --process process.json server1

The exit code is the command's, or 255 if it could not be run.

flags:
  -p, --process FILE      the process as OCI JSON, instead of COMMAND
  -d, --detach            return once the command runs
  --pid-file FILE         write its pid here
  --console-socket PATH   send its terminal to the listener on this unix socket
  --pidfd-socket PATH     send a descriptor of the process there
  -t, --tty               give it a terminal
  -u, --user UID[:GID]    as this user (default: the container's)
  -g, --additional-gids N one more group; may be repeated
  -e, --env NAME=VALUE    one more variable; may be repeated
  --cwd DIR               in this directory
  -c, --cap NAME          one more capability; may be repeated
  --no-new-privs          set-user-ID programs gain nothing
  --apparmor PROFILE      under this AppArmor profile
  --process-label LABEL   under this SELinux label
  --cgroup [CONTROLLERS:]PATH
                          in this cgroup below the container's, which is there
  --preserve-fds N        hand over descriptors 3 to 3+N-1 that are open
  --ignore-paused         also in a paused container
`

const helpPs = `runh ps [flags] ID [PS OPTIONS] - list the processes of a container

  # runh ps server1
  # runh ps server1 -o pid,cmd     options of ps(1)
  # runh ps --format json server1
  [4711,4712]

All processes of the container's cgroup are listed, those of exec among them.
Without options ps(1) is given -ef; a list of columns must have pid in it.

flags:
  -f, --format FORMAT   table (default) or json: the pids on the host
`

const helpPause = `runh pause ID - freeze all processes of a container

  # runh pause server1
  # runh state server1 | jq -r .status
  paused
  # runh resume server1

A created container can be paused, too. KILL also ends a paused one.
`

const helpResume = `runh resume ID - thaw a paused container

  # runh resume server1
  # runh resume server1
  runh: resume: server1: container not paused
`

const helpUpdate = `runh update [flags] ID - change a container's resource limits

  # runh update --memory 134217728 --pids-limit 100 server1
  # echo '{"cpu":{"quota":50000,"period":100000}}' | runh update -r - server1

What is 0 or not named stays as it is; -1 takes a limit away. Sizes may be
written 64m or 1.5GiB. A Hermit guest keeps the memory it was started with.

flags:
  -r, --resources FILE   OCI resources as JSON; - is standard input
  --memory BYTES, --memory-reservation BYTES, --memory-swap BYTES
  --cpu-period USEC, --cpu-quota USEC, --cpu-burst USEC, --cpu-shares N
  --cpu-rt-period USEC, --cpu-rt-runtime USEC, --cpu-idle N
  --cpuset-cpus LIST, --cpuset-mems LIST
  --pids-limit N, --blkio-weight N
  --kernel-memory-tcp BYTES: cgroup v1 only
  --l3-cache-schema TEXT, --mem-bw-schema TEXT: of the container's group in
                         resctrl, if linux.intelRdt has given it one
  --kernel-memory BYTES: read and ignored, as the kernel does
`

const helpEvents = `runh events [flags] ID - print statistics and out-of-memory events

  # runh events --stats server1 | jq .data.memory.usage.usage
  933888
  # runh events --interval 1s server1
  {"type":"stats","id":"server1","data":{"cpu":{"usage":{"total":33565855,...
  {"type":"oom","id":"server1"}

One JSON object per line, until the container ends; times are nanoseconds.

flags:
  --stats            print the statistics once
  --interval TIME    how often (default 5s)
`

const helpCheckpoint = `runh checkpoint [flags] ID - save a running container to disk

  # runh checkpoint --image-path /var/tmp/img server1
  # runh restore --image-path /var/tmp/img --bundle server server1

The guest of a Hermit container is stopped, its machine is written to DIR
(./checkpoint), which must hold nothing else, and the container is ended and
deleted; with --leave-running it goes on. DIR then has manifest.json and state;
they can be copied. A checkpoint that fails leaves the container running. For
Linux containers all flags are criu's, which must be installed; its log is
dump.log in the working directory (by default DIR).

flags:
  --image-path DIR, --leave-running
  --work-path DIR, --tcp-established, --tcp-skip-in-flight, --link-remap
  --ext-unix-sk, --shell-job, --file-locks, --auto-dedup, --empty-ns NAME
  --manage-cgroups-mode MODE    nothing of it concerns a guest: no effect
  --parent-path DIR, --pre-dump, --status-fd N, --page-server ADDRESS:PORT
  --lazy-pages                  for Linux containers only
`

const helpRestore = `runh restore [flags] ID - bring a saved container back

  # runh restore --image-path /var/tmp/img --bundle server server1

As run, but the guest goes on where it was saved. Bundle and host must be what
they were: application, loader, QEMU, machine, CPU and memory are compared
before QEMU starts. Others find the guest under the new container's address.
A Linux container gets the mounts, limits and namespaces of its new config.json;
criu's log is restore.log.

flags:
  -b, --bundle DIR, --image-path DIR, --pid-file FILE, -d, --detach
  --console-socket PATH, --pidfd-socket PATH, --no-subreaper, --no-pivot
  --no-new-keyring, --keep, --preserve-fds N     as with run
  --network-identity kept       under the addresses it was saved with
  --work-path DIR, --tcp-established, --tcp-skip-in-flight, --link-remap
  --ext-unix-sk, --shell-job, --file-locks, --auto-dedup, --empty-ns NAME
  --manage-cgroups-mode MODE, --lsm-profile TYPE:NAME
  --lsm-mount-context TEXT      nothing of it concerns a guest: no effect
  --lazy-pages                  for Linux containers only
`

const helpEnv = `runh env [build [flags] [DIR] | check] - the files that QEMU runs from

  # runh env                              what would be used, and why
  # runh env check                        is all of it there
  # runh env build                        copy the host's QEMU to <root>/hermit
  # runh env build /opt/hermit-env        or anywhere, for --hermit-env
  # runh env build --from build/qemu      copy a tree of make qemu

That tree is then used. Without one QEMU runs from /usr/lib/runh/qemu, the tree
of the package runh-qemu, and without that from the host's own files, mounted
one by one. After an upgrade of the host's QEMU the next container builds a copy
of it again; a copy of make qemu's tree stays as it is. What you add to the tree
or change in it stays. A directory that is not empty and not such a tree is left
untouched.

flags:
  --from DIR            a tree of make qemu, instead of the host's QEMU
`

const helpCheck = `runh check - say whether this host can run Hermit containers

  # runh check
  ok  kernel     Linux 6.1.0
  ok  qemu       /usr/bin/qemu-system-x86_64, QEMU emulator version 7.2.22
  ...

Exit code 0: it can; what only would make it better is marked --.
`

const helpExplain = `runh explain [flags] - say what create would do, and do nothing

  # runh explain --bundle hello
  program       /hermit/app
  kind          hermit: an ELF file with OS ABI 255
  machine       microvm, tcg, 1 vCPU
  ...

  # runh explain --bundle hello --program
  === the container's init ===
  born    fork and execve of the interpreter, with CLONE_NEWPID
     ...
    74  unshare(CLONE_NEWNS|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWNET)
     ...

--program lists every system call by which create sets the container up: its
number, step, arguments, where its errors lead, and the points where the init
waits for create. The hooks and a guest's jails are listed too. It needs no
privilege. <NAME> stands for what only create knows.

flags:
  -b, --bundle DIR      where config.json is (default .)
  -f, --format FORMAT   text (default) or json
  --program             list the system calls of create
  --exec                with --program: of an exec into the container instead
  -p, --process FILE    with --exec: what to run, as for runh exec --process
                        (default: the container's own process)
  --no-pivot, --no-new-keyring
                        with --program: as for runh create
`

const helpInstall = `runh install [flags] docker|containerd|crio - make runh known to a manager

  # runh install docker
  /etc/docker/daemon.json: changed, the previous version is
  /etc/docker/daemon.json.before-runh; now: systemctl restart docker
  # docker run --rm --runtime=runh IMAGE
  # runh install containerd --dry-run | diff /etc/containerd/config.toml -
  # runh install --remove docker

It edits the manager's own configuration: for Docker the runtime "runh", for
the others a handler of that name, which a Kubernetes RuntimeClass leads to. All
else in the file stays as it is. Nothing is restarted.

flags:
  -n, --dry-run       print the file as it would be, and change nothing
  --remove            take runh out of it again
  -f, --file FILE     another file than /etc/docker/daemon.json,
                      /etc/containerd/config.toml or
                      /etc/crio/crio.conf.d/20-runh.conf
  --binary PATH       where runh is (default: this file)
`
