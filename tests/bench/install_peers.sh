#!/bin/sh
# install_peers.sh FOLDER - installs what `make bench` measures beside anomalyd: as root Debian's
# packages, and in FOLDER fastify and onnxruntime-node from npm's registry, as it is configured.
# What is not to be had is left out of the table.
set -u
folder=${1:?usage: install_peers.sh FOLDER}
status=0

for package in nginx-light python3-torch python3-fastapi python3-uvicorn python3-uvloop \
	python3-httptools python3-flask python3-waitress python3-sklearn nodejs npm; do
	dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2>/dev/null |
		grep -q '^ii' && continue
	case $package in
	nginx-light) command -v nginx >/dev/null && continue ;;
	nodejs) command -v node >/dev/null && continue ;;
	npm) command -v npm >/dev/null && continue ;;
	esac
	apt-get install --quiet --yes --no-install-recommends "$package" || status=1
done

# Its package holds the library for the processor; the script would fetch more for graphics cards.
mkdir -p "$folder"
npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund \
	fastify onnxruntime-node || status=1
exit "$status"
