#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The Debian package, in a clean root: this machine's own system below a file system in memory. tests/guest/test_deb.py has
# it with systemd.
load ../lib/helpers

setup_file() {
  requires root crun dpkg-deb dpkg-shlibdeps strip unshare
  crisp_file_setup
  make_image web
  BUILD=$BUILD DEB_COMPRESS=none "$BATS_TEST_DIRNAME/../../scripts/deb" "$CRISP_TMP/one.deb"
  "$BATS_TEST_DIRNAME/../lib/next_deb" "$CRISP_TMP/one.deb" "$CRISP_TMP/two.deb"
}
teardown_file() { crisp_file_teardown; }

@test "what is in it: programs, units, configuration, man pages, completions, and what it depends on" {
  local p
  dpkg-deb -c "$CRISP_TMP/one.deb" | awk '{ print $6 }' >"$CRISP_TMP/files"
  for p in "$BUILD"/bin/*; do grep -qx "./usr/bin/${p##*/}" "$CRISP_TMP/files"; done
  cd "$BATS_TEST_DIRNAME/../.."
  for p in {cmd/*,adapter,libcommon,scripts}/*.[1-8]; do [ ! -e "$p" ] || grep -qx "./usr/share/man/man${p##*.}/${p##*/}.gz" "$CRISP_TMP/files"; done
  for p in lib/systemd/system/crispd.{service,socket} etc/crisp/{crisp.json,crictl.yaml} usr/share/doc/crisp/{copyright,changelog.gz} \
    usr/share/bash-completion/completions/{crisp,podnet} usr/share/zsh/site-functions/_crisp usr/share/fish/vendor_completions.d/podnet.fish; do
    grep -qx "./$p" "$CRISP_TMP/files"
  done
  # Whoever unpacks it owns nothing of it but root.
  run -1 grep -vE '^[^ ]+ root/root ' <(dpkg-deb -c "$CRISP_TMP/one.deb")
  dpkg-deb -f "$CRISP_TMP/one.deb" Depends | grep -E 'libc6 \(>= .*crun \| runc'
  dpkg-deb -I "$CRISP_TMP/one.deb" conffiles | grep -x /etc/crisp/crisp.json
}

@test "installed, upgraded under a running container, removed and purged, with what the admin has made kept" {
  run timeout 300 unshare --mount --propagation private "$BATS_TEST_DIRNAME/../lib/deb_root" "$CRISP_TMP"
  echo "$output"
  case $output in *"skip: "*) skip "${output##*skip: }" ;; esac
  [ "$status" = 0 ]
}
