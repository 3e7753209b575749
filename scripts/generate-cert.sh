#!/usr/bin/env bash
# Makes a certificate authority and what it signs for Paravon's nodes, clients and administrators, with the
# OpenSSL command line. The same files as `paravon cert`.
#
# Never: a key that others can read, a file replaced without --force, a half-written pair.

set -euo pipefail

readonly CA_DAYS=3650
readonly LEAF_DAYS=825
readonly CA_DIR=ca

usage() {
    cat <<'USAGE'
usage: generate-cert.sh [--force] ca
       generate-cert.sh [--force] server DIR NAME "DNS,..." "IP,..."
       generate-cert.sh [--force] client DIR NAME
       generate-cert.sh [--force] admin  DIR NAME

  ca      a certificate authority: ca/ca.crt and ca/ca.key in the working directory.
          Copy ca.crt to every node and client. Keep ca.key off them: it makes nodes and administrators.
  server  the certificate of a node: DIR/server.crt and DIR/server.key.
          NAME is its node.id. DNS and IP are what others connect to, each a list with commas or "".
  client  the certificate of a client: DIR/client.crt and DIR/client.key.
  admin   the same for an administrator, who may change the cluster.

  --force replaces files that exist; without it they are kept.

A cluster of one node and its administrator, on one machine:

  generate-cert.sh ca
  generate-cert.sh server node-1 node-1 "localhost" "127.0.0.1"
  generate-cert.sh admin  ops ops
USAGE
}

fail() {
    printf 'generate-cert.sh: %s\n' "$1" >&2
    exit 2
}

# Runs openssl quietly; says what it said when it fails.
ssl() {
    openssl "$@" 2>"$work/complaint" || fail "openssl $1 failed: $(cat "$work/complaint")"
}

random_hex() {
    ssl rand -hex "$1"
}

check_node_name() {
    [[ $1 =~ ^[A-Za-z0-9._-]{1,64}$ ]] ||
        fail "NAME '$1' cannot be a node.id: use 1 to 64 letters, digits, '.', '_' and '-'"
}

check_client_name() {
    [[ $1 =~ ^[A-Za-z0-9._@\ -]{1,64}$ ]] ||
        fail "NAME '$1' cannot be a common name: use 1 to 64 letters, digits, spaces, '.', '_', '-' and '@'"
}

# alternative_names NAME DNS,... IP,... prints the value of subjectAltName.
alternative_names() {
    local names="DNS:$1" entry
    local -a dns addresses
    IFS=', ' read -r -a dns <<<"$2"
    IFS=', ' read -r -a addresses <<<"$3"
    for entry in ${dns[@]+"${dns[@]}"}; do
        [[ -n $entry && $entry != "$1" ]] || continue
        [[ $entry =~ ^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$ ]] || fail "'$entry' is not a DNS name"
        names+=",DNS:$entry"
    done
    for entry in ${addresses[@]+"${addresses[@]}"}; do
        [[ -n $entry ]] || continue
        [[ $entry =~ ^[0-9A-Fa-f:.]+$ ]] || fail "'$entry' is not an IP address"
        names+=",IP:$entry"
    done
    printf '%s' "$names"
}

# refuse_existing FILE... unless --force was given.
refuse_existing() {
    local file
    [[ $force == no ]] || return 0
    for file in "$@"; do
        [[ ! -e $file && ! -L $file ]] || fail "$file exists and is kept; pass --force to replace it"
    done
}

# begin DIR STEM: a place beside the target for what is not finished yet.
begin() {
    refuse_existing "$1/$2.crt" "$1/$2.key"
    mkdir -p "$1"
    umask 077
    work=$(mktemp -d "$1/.generate-cert.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    ssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key"
    chmod 600 "$work/key"
}

# finish DIR STEM: key and certificate to their places. A link never replaces what has appeared meanwhile.
finish() {
    chmod 644 "$work/crt"
    local part
    for part in key crt; do
        if [[ $force == yes ]]; then
            mv -f "$work/$part" "$1/$2.$part"
        else
            ln "$work/$part" "$1/$2.$part" || fail "$1/$2.$part cannot be written"
        fi
    done
    printf 'wrote %s and %s\n' "$1/$2.crt" "$1/$2.key"
}

make_ca() {
    begin "$CA_DIR" ca
    cat >"$work/config" <<CONFIG
[req]
distinguished_name = subject
x509_extensions = extensions
prompt = no
[subject]
CN = Paravon CA $(random_hex 4)
[extensions]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
CONFIG
    ssl req -new -x509 -sha256 -config "$work/config" -key "$work/key" -days "$CA_DAYS" \
        -set_serial "0x5$(random_hex 15)" -out "$work/crt"
    finish "$CA_DIR" ca
}

# make_leaf DIR STEM SUBJECT USAGES NAMES, where NAMES may be empty.
make_leaf() {
    [[ -r $CA_DIR/ca.crt && -r $CA_DIR/ca.key ]] ||
        fail "no certificate authority in $PWD/$CA_DIR; make one with: generate-cert.sh ca"
    begin "$1" "$2"
    printf '[req]\ndistinguished_name = subject\n[subject]\n' >"$work/config"
    cat >"$work/extensions" <<EXTENSIONS
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = $4
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
${5:+subjectAltName = $5}
EXTENSIONS
    ssl req -new -sha256 -config "$work/config" -key "$work/key" -subj "$3" -out "$work/request"
    ssl x509 -req -sha256 -in "$work/request" -CA "$CA_DIR/ca.crt" -CAkey "$CA_DIR/ca.key" \
        -set_serial "0x5$(random_hex 15)" -days "$LEAF_DAYS" -extfile "$work/extensions" -out "$work/crt"
    finish "$1" "$2"
}

make_server() {
    check_node_name "$2"
    local names
    names=$(alternative_names "$2" "$3" "$4")
    make_leaf "$1" server "/CN=$2" serverAuth,clientAuth "$names"
}

make_client() {
    check_client_name "$2"
    make_leaf "$1" client "${3-}/CN=$2" clientAuth ""
}

force=no
arguments=()
for argument in "$@"; do
    case $argument in
        --force) force=yes ;;
        -h | --help) usage; exit 0 ;;
        --*) fail "unknown option $argument; see --help" ;;
        *) arguments+=("$argument") ;;
    esac
done
set -- ${arguments[@]+"${arguments[@]}"}

work=
command -v openssl >/dev/null || fail "openssl is not installed; use \`paravon cert\` instead"
case "${1-}/$#" in
    ca/1) make_ca ;;
    server/5) make_server "$2" "$3" "$4" "$5" ;;
    client/3) make_client "$2" "$3" ;;
    admin/3) make_client "$2" "$3" "/OU=admin" ;;
    /0) usage >&2; exit 2 ;;
    *) usage >&2; fail "these arguments fit no command: $*" ;;
esac
