# Runs etcd and kube-apiserver for as long as standard input is open, so that they end with the test however that ends.
# Arguments: a directory, etcd's command, "--", kube-apiserver's command. Reads `stop` and `start` (of kube-apiserver),
# writes a line when done, and `ended <program>` when one ended by itself. The directory is removed at the end.
dir=$1
shift
etcd=()
while [ "$1" != -- ]; do
  etcd+=("$1")
  shift
done
shift
api=("$@")

start_api() {
  "${api[@]}" </dev/null >>"$dir/kube-apiserver.log" 2>&1 &
  api_pid=$!
}
"${etcd[@]}" </dev/null >"$dir/etcd.log" 2>&1 &
etcd_pid=$!
start_api

line=
while IFS= read -r -t 1 line || [ $? -gt 128 ]; do
  case $line in
    stop)
      kill -9 $api_pid 2>/dev/null
      wait $api_pid 2>/dev/null
      api_pid=
      echo stopped
      ;;
    start)
      start_api
      echo started
      ;;
  esac
  line=
  if ! kill -0 $etcd_pid 2>/dev/null; then
    echo "ended etcd"
    break
  fi
  if [ -n "$api_pid" ] && ! kill -0 $api_pid 2>/dev/null; then
    echo "ended kube-apiserver"
    api_pid=
  fi
done
kill -9 $api_pid $etcd_pid 2>/dev/null
wait 2>/dev/null
rm -rf "$dir"
