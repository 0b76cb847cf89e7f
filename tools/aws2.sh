#!/bin/sh
# aws2.sh FOLDER: the AWS CLI's second version, from Debian's package and what it needs, unpacked into
# FOLDER (11 MB to fetch, 125 MB unpacked) instead of installed: nobody's `aws` becomes another one.
# FOLDER/aws runs it. Where the package does not exist it says so and leaves nothing: tests that want
# it are skipped then.
set -eu

folder=$1
[ ! -x "$folder/aws" ] || exit 0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# What is installed already is not listed.
missing=$(apt-get install -s --no-install-recommends awscli 2>/dev/null |
    sed -n -e '/^Inst awscli /d' -e 's/^Inst \([^ ]*\).*/\1/p')
# shellcheck disable=SC2086
if ! apt-get download -q awscli $missing >log 2>&1; then
    echo "aws2: apt-get has no package awscli: tests with the AWS CLI's second version are skipped" >&2
    exit 0
fi
mkdir root
for package in *.deb; do
    dpkg -x "$package" root
done
cat >root/aws <<'RUN'
#!/bin/sh
here=$(dirname "$0")
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/usr/lib/python3/dist-packages exec /usr/bin/python3 \
    "$here/usr/bin/aws" "$@"
RUN
chmod 755 root/aws
case $(root/aws --version 2>&1) in
aws-cli/2.*) ;;
*)
    echo "aws2: the package awscli is not the second version: tests with it are skipped" >&2
    exit 0
    ;;
esac
cd - >/dev/null
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
cp -r "$scratch/root" "$folder"
