#!/bin/sh
# Delete the data of the local service: reset.sh FOLDER
set -eu
folder=$1
[ -d "$folder" ] || { echo "There is no local data."; exit 0; }
cd "$folder"
if [ -f emulator.pid ] && kill -0 "$(cat emulator.pid)" 2>/dev/null; then
    echo "Certhaven is running from this folder. Stop it first, with Ctrl-C where it runs." >&2
    exit 1
fi
rm -rf state s3 tmp alibaba env deployed saved port emulator.log emulator.pid
echo "The local data is deleted."
