"""The program that fetches files on a Spark: fixed text for its `sh`. Pure.

Every value reaches it as a quoted argument or a quoted assignment (`reconciler.weights.download`). What it promises:

- A file comes into `blobs/<hash>.sparkkeep.incomplete`, goes on from the byte where it stopped, is checked against its
  hash and only then gets its name. What fails the check is thrown away and fetched once more.
- The token stands in a variable of this shell and reaches curl through a pipe: in no argv, no environment and no file.
  Redirects are followed by hand; the token goes to the origin it was meant for and nowhere else.
- A file is fetched under the lock that `huggingface_hub` takes for it, so that two never write the same one.
- It prints at least one line a second. When nobody reads them any more (sparkkeep or the connection is gone) printing
  fails, and it ends with all that it started. Nothing has to be found and killed later.
- Requests are for at most `$slice` bytes: the hub's bridge refuses to send very large files in one answer.
"""

from __future__ import annotations

from typing import Final

COMMON: Final = """
curl_() { # only ever at the end of a pipe, so that it replaces that pipe's shell and can be ended
  exec curl -q --config - --silent --show-error --globoff --proto "=$protocols" --proto-redir "=$protocols" \\
    --connect-timeout 15 --speed-limit 1024 --speed-time "$stall" --user-agent sparkkeep \\
    ${direct:+--noproxy "$direct"} "$@"
}
"""

PROGRAM: Final = r"""
LC_ALL=C; export LC_ALL
trap '' PIPE
main=$$
stop() {
  trap '' TERM HUP INT
  for lane in $lanes; do kill "$lane" 2>/dev/null; done
  wait
  rm -rf -- "$work"
  exit "$1"
}
say() { printf '%s\n' "$*" 2>/dev/null || exit 141; }
no() { # file, kind, number
  sed -n 's/\r$//; s/^\([A-Za-z-]*\): /\1 /p' "$head" 2>/dev/null | grep -iE "^($headers) " | cut -c 1-300 |
    while read -r line; do say "head $1 $line"; done
  if [ -s "$note" ]; then say "text $1 $(grep '^curl: ' "$note" | tail -n 1 | cut -c 1-300)"; fi
  say "fail $1 $2 $3"
  exit 1
}
ready() {
  mkdir -p -- "$cache/$folder/blobs" "$cache/$folder/refs" "$cache/$folder/snapshots/$commit" &&
    mkdir -p -- "$cache/.locks/$folder" || { say "fail - folder 0"; exit 1; }
  locks=$(cd -- "$cache/.locks/$folder" && pwd) && cd -- "$cache/$folder" || { say "fail - folder 0"; exit 1; }
  work=$(mktemp -d) || { say "fail - folder 0"; exit 1; }
}
size_of() { if [ -e "$1" ]; then stat -L -c %s -- "$1"; else echo 0; fi; }
run() { # a child that a signal to this lane ends too
  child=$1
  wait "$child"
  status=$?
}
ask() { # shown the token only at its own origin; the answer goes to "$out"
  : >"$head"
  printf '%s\n' "$config" | curl_ "$@" >"$out" 2>"$note" &
  run $!
}
resolve() { # url -> $from, $config
  from=$1; config=$auth; hops=0
  while [ "$hops" -le 5 ]; do
    ask --head --dump-header "$head" --output /dev/null --write-out '%{http_code} %{redirect_url}\n' --url "$from"
    [ "$status" -eq 0 ] || return 1
    code=; read -r code next <"$out"
    [ -n "$code" ] || no "$file" temp 0
    case $code in
      2??) return 0 ;;
      30[12378]) ;;
      *) status=22; return 1 ;;
    esac
    from=$next; hops=$((hops + 1))
    case $next in "$origin"/*) ;; *) config=; return 0 ;; esac
  done
  status=47; return 1
}
transfer() { # have -> one slice more of the file, at the end of "$part"
  rest=$((size - have))
  set --
  if [ -z "$config" ]; then set -- --location --max-redirs 5; fi
  if [ -n "$plain" ]; then
    : >"$part"; have=0; rest=$size
  elif [ "$rest" -gt "$slice" ]; then
    rest=$slice
    set -- "$@" --range "$have-$((have + slice - 1))"
  elif [ "$have" -gt 0 ]; then
    set -- "$@" --range "$have-"
  fi
  : >"$head"
  printf '%s\n' "$config" | curl_ --fail --max-filesize "$rest" --dump-header "$head" \
    --write-out '%{stderr}\n%{http_code}\n' "$@" --url "$from" >>"$part" 2>"$note" &
  run $!
  code=$(grep -E '^[0-9]{3}$' "$note" | tail -n 1)
  case $status:$code in
    0:206) ;;
    0:200)
      if [ "$have" -gt 0 ]; then status=33; fi ;;
    0:) no "$file" temp 0 ;; # curl said it, and there was no room to write it down
    0:*) truncate -s "$have" -- "$part"; status=22 ;;
  esac
}
bring() { # all bytes of the file into "$part", or no
  tries=0; plain=
  while :; do
    have=$(size_of "$part")
    if [ "$have" -gt "$size" ]; then : >"$part"; have=0; fi
    if [ -e "$part" ] && [ "$have" -eq "$size" ]; then return; fi
    if [ "$size" -eq 0 ]; then : >"$part" || no "$file" write 0; return; fi
    kill -0 "$main" 2>/dev/null || exit 1
    if resolve "$url"; then transfer; fi
    case $status in
      0) ;;
      22)
        case $code in
          416) : >"$part" ;;
          5??|408) ;;
          *) no "$file" http "$code" ;;
        esac ;;
      23) no "$file" write 0 ;;
      33|63)
        if [ -n "$plain" ]; then no "$file" length 0; fi
        : >"$part"; plain=yes; have=0 ;;
    esac
    if [ -z "$plain" ] && [ "$(size_of "$part")" -gt "$have" ]; then
      tries=0
    elif [ "$status" -ne 0 ] || [ "$have" -lt "$size" ]; then
      tries=$((tries + 1))
      if [ "$tries" -ge "$most" ]; then
        case $status in 22) no "$file" http "$code" ;; *) no "$file" curl "$status" ;; esac
      fi
      sleep "$pause" & run $!
    fi
  done
}
sum_of() {
  if [ "$hash" = git ]; then
    { printf 'blob %s\0' "$size"; cat -- "$part"; } | sha1sum
  else
    sha256sum <"$part"
  fi
}
fetch() { # file etag hash size url
  file=$1 etag=$2 hash=$3 size=$4 url=$5
  blob=blobs/$etag part=blobs/$etag$suffix
  kill -0 "$main" 2>/dev/null || exit 1
  : >"$head"; : >"$note"
  (: >>"$locks/$etag.lock") || no "$file" folder 0
  exec 9>>"$locks/$etag.lock"
  flock -w "$lock_wait" 9 & run $!
  [ "$status" -eq 0 ] || no "$file" busy 0
  if [ ! -e "$blob" ] || [ "$(size_of "$blob")" -ne "$size" ]; then
    again=
    while :; do
      bring
      say "check $file"
      sum_of >"$out" & run $!
      sum=; read -r sum rest <"$out"
      [ -n "$sum" ] || no "$file" temp 0 # nothing is known of the bytes: no reason to throw them away
      if [ "$sum" = "$etag" ]; then break; fi
      rm -f -- "$part"
      if [ -n "$again" ]; then no "$file" corrupt 0; fi
      again=yes
      say "again $file"
    done
    mv -fT -- "$part" "$blob" || no "$file" folder 0
  fi
  exec 9>&-
  say "got $file"
}
lane() { # name, then what it runs
  head=$work/$1.head; note=$work/$1.note; out=$work/$1.out; child=
  trap 'if [ -n "$child" ]; then kill "$child" 2>/dev/null; fi; exit 143' TERM
  "$1"
}
await() { # until every lane has ended
  while [ -n "$lanes" ]; do
    (cd blobs && stat -c 'part %s %n' -- *"$suffix" 2>/dev/null)
    printf 'alive\n' 2>/dev/null || stop 141
    sleep "$tick"
    still=
    for one in $lanes; do
      if kill -0 "$one" 2>/dev/null; then still="$still $one"; continue; fi
      wait "$one" || { lanes=$still; stop 1; }
    done
    lanes=$still
  done
}
link() { # folder path target
  { [ -d "snapshots/$commit/$1" ] || mkdir -p -- "snapshots/$commit/$1"; } &&
    ln -sfT -- "$3" "snapshots/$commit/$2" || { say "fail - link 0"; stop 1; }
}
name() { # the revision's name leads to the commit; without a newline, as the hub's library reads it
  # Written by cat: dash calls a disk that is full an I/O error.
  mkdir -p -- "refs/$1" && printf %s "$commit" | cat >"$locks/ref.$$" && mv -fT -- "$locks/ref.$$" "refs/$2" ||
    { rm -f -- "$locks/ref.$$"; say "fail - link 0"; stop 1; }
}
"""
