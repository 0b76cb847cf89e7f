#!/bin/sh
# deb.sh [VERSION]: builds the Debian package of this working tree into build/deb, and prints its path.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
release=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$top/meson.build")
version=${1:-$release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$top"
mkdir "$work/fairlead"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - |
    tar -xf - -C "$work/fairlead"
cd "$work/fairlead"
sed -i "s/^\( *version: \)'.*',$/\1'$version',/" meson.build
mv packaging/debian debian
{
    printf 'fairlead (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * See the repository.\n\n'
    printf ' -- The Fairlead authors <fairlead@localhost>  %s\n' "$(git -C "$top" log -1 --format=%cD)"
} >debian/changelog
if ! dpkg-buildpackage -b -us -uc -ui >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    echo "deb: the package could not be built" >&2
    exit 1
fi
mkdir -p "$top/build/deb"
cp "$work"/fairlead_"$version"_*.deb "$top/build/deb/"
echo "$top/build/deb/$(basename "$work"/fairlead_"$version"_*.deb)"
