# Runs PostgreSQL for as long as standard input is open, so that it ends with the test however that ends.
# Arguments: a directory, then the server's command. Reads `stop` (connections are cut, all is written), `crash` (as if
# the machine had lost its memory) and `start`, writes a line when done, and `ended postgres` when it ended by itself. The
# directory is removed at the end.
dir=$1
shift
server=("$@")
cd "$dir" || exit 1

start() {
  "${server[@]}" </dev/null >>"$dir/postgres.log" 2>&1 &
  pid=$!
}
end() {
  kill -s "$1" $pid 2>/dev/null
  wait $pid 2>/dev/null
  pid=
}
start

line=
while IFS= read -r -t 1 line || [ $? -gt 128 ]; do
  case $line in
    stop)
      end INT
      echo stopped
      ;;
    crash)
      end QUIT
      echo crashed
      ;;
    start)
      start
      echo started
      ;;
  esac
  line=
  if [ -n "$pid" ] && ! kill -0 $pid 2>/dev/null; then
    echo "ended postgres"
    pid=
  fi
done
end QUIT
cd /
rm -rf "$dir"
