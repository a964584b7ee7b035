#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What cmake --install and scripts/install put where, and that it works from there: install.sh BUILD_DIR
. "$(dirname "$0")/lib.sh"
begin

there() {
    local file
    for file; do
        [ -e "$work/usr/$file" ] || { echo "no $file"; find usr; return 1; }
    done
}

clean_page() {
    local said
    said=$(groff -man -Tutf8 -ww "$1" 2>&1 >page)
    [ -z "$said" ] || { echo "$said"; return 1; }
    grep -q . page
}

# Every verb of --help and every option of every verb.
page_is_whole() {
    local program=$1 verb word
    groff -man -Tascii -P-cbou "$2" 2>/dev/null >page
    for verb in $("$program" --help | awk '/^  [a-z]/ { print $1 }'); do
        for word in $("$program" "$verb" --help | grep -oE '^ +(-., )?--[a-z-]+' | grep -oE -- '--.*'); do
            grep -qF -- "$word" page || { echo "$verb: no $word"; return 1; }
        done
    done
}

compiles() {
    printf '#include <clip.h>\n#include <stdio.h>\nint main(void) { return puts(clip_version()) < 0; }\n' >t.c
    export PKG_CONFIG_PATH
    PKG_CONFIG_PATH=$(dirname "$(find "$work/usr" -name clip.pc)")
    # shellcheck disable=SC2046
    cc t.c -o t $(pkg-config --cflags --libs clip \
        --define-variable=prefix="$work/usr" --define-variable=libdir="$libdir" \
        --define-variable=includedir="$work/usr/include") && LD_LIBRARY_PATH=$libdir ./t
}

units_are_good() {
    local said
    sed -i "s|^ExecStart=[^ ]*|ExecStart=$work/usr/bin/clipd|" usr/lib/systemd/system/clipd.service
    said=$(systemd-analyze verify --man=no "$PWD"/usr/lib/systemd/system/clipd.{service,socket} 2>&1 |
        grep -F clipd.)
    [ -z "$said" ] || { echo "$said"; return 1; }
}

completes() {
    bash -c 'source "$0"; COMP_WORDS=(clip i) COMP_CWORD=1; PATH=$1:$PATH
        _clip clip; [[ " ${COMPREPLY[*]} " == *" index "* ]]' \
        usr/share/bash-completion/completions/clip "$work/usr/bin"
}

# scripts/install builds for itself, which takes a minute: here its cmake has what is built already, and
# what would change this machine only says that it was called.
stand_in() {
    local program
    mkdir stand-ins
    cat >stand-ins/cmake <<END
#!/bin/bash
echo "\$*" >>"$work/called"
[ "\$1" != --install ] || exec "$(type -P cmake)" --install "$build" --prefix \
    "\$(sed -n 's/.*-DCMAKE_INSTALL_PREFIX=//p' "$work/called")"
END
    for program in ldconfig systemctl; do
        printf '#!/bin/bash\necho "%s $*" >>"%s"\n' $program "$work/called" >stand-ins/$program
    done
    chmod +x stand-ins/*
}

# script_install OPTION...
script_install() {
    : >called
    PATH=$work/stand-ins:$PATH "$here/../../scripts/install" "$@"
}

installs_what_cmake_does() {
    script_install --prefix "$work/opt" && grep -q -- '-DCMAKE_BUILD_TYPE=RelWithDebInfo' called &&
        diff <(cd usr && find . | sort) <(cd opt && find . | sort)
}

respects_destdir() {
    DESTDIR=$work/stage script_install --prefix=/usr && stage/usr/bin/clip --version &&
        ! grep -E '^(ldconfig|systemctl)' called
}

starts() {
    script_install --prefix "$work/started" --start && cat called &&
        grep -qx 'systemctl enable --now clipd.socket clipd.service' called
}

refuses_options() {
    fails 2 "there is no option --nope" script_install --nope && [ ! -s called ] &&
        fails 2 "--prefix needs a directory" script_install --prefix && [ ! -s called ]
}

check "cmake --install works" cmake --install "$build" --prefix "$work/usr"
libdir=$(dirname "$(find "$work/usr" -name 'libclip.so' | head -n 1)")
check "programs, header, man pages and units are there" there bin/clip bin/clipd include/clip.h \
    share/man/man1/clip.1 share/man/man8/clipd.8 lib/systemd/system/clipd.service \
    lib/systemd/system/clipd.socket share/bash-completion/completions/clip
check "clip finds its library" usr/bin/clip --version
check "clipd finds its library" usr/bin/clipd --version
check "the units say where clipd is" grep -q '^ExecStart=/.*bin/clipd serve' usr/lib/systemd/system/clipd.service
check "pkg-config's file is enough to build with" compiles
check "bash completes verbs" completes
stand_in
check "scripts/install puts the same below its prefix" installs_what_cmake_does
check "and below DESTDIR, for packagers, leaving this machine alone" respects_destdir
check "--start lets systemd start clipd" starts
check "its --help tells its options" bash -c "'$here/../../scripts/install' --help | grep -q -- --start"
check "what it does not know is refused before anything is built" refuses_options
if have groff; then
    check "clip.1 has no warnings" clean_page usr/share/man/man1/clip.1
    check "clipd.8 has no warnings" clean_page usr/share/man/man8/clipd.8
    check "clip.1 has every option" page_is_whole "$clip" usr/share/man/man1/clip.1
    check "clipd.8 has every option" page_is_whole "$build/cli/clipd" usr/share/man/man8/clipd.8
else
    skip "man pages" "groff is not installed"
fi
if have systemd-analyze; then
    check "systemd takes the units" units_are_good
else
    skip "systemd units" "systemd-analyze is not installed"
fi
finish
