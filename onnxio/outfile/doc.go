// Package outfile writes files so that none is lost: every file that a command writes goes through it. It implements what POSIX says of rename
// (https://pubs.opengroup.org/onlinepubs/9799919799/functions/rename.html): a name stands for the old file or for the new one, never for a part.
//
// [Write] writes to a temporary file in the folder of the output, syncs it to the disk and renames it. [WritePair] does so for a model and its external data.
// [Claims] compares, before any work starts, all files that a command will write with all files that it reads.
//
// # What is kept
//
// An existing file keeps its mode and, where the system lets it, its owner; a new one gets its mode from the umask. Of a symbolic link the target is replaced and the link stays; a link
// whose target does not exist yet creates the target. A pipe, a device, a socket and /dev/fd/N are written to as they are and never renamed over.
//
// # A model and its external data
//
// A model names its data file. Two files cannot be renamed at once, so [WritePair] writes the data under a name of its own, NAME.data.NUMBER, and renames a model that names this file over
// the old model: that is the moment at which the new pair takes the place of the old one. Only then does the data get its final name, NAME.data, by a hard link (a copy where there are none), and the model
// is replaced once more by one that names it. Whenever the program is killed, the model at NAME is whole and names a whole data file that belongs to it. All files
// are written in full before the first rename, so a disk that is full changes nothing. A data file that the model at NAME does not name belongs to another model and is not replaced.
//
// # Limits
//
// A program that is killed can leave temporary files behind: .NAME.tmp-NUMBER and NAME.data.NUMBER. Other programs that write to the same names at the same time are not locked out. A reader that
// opens the model before the second rename and its data afterwards finds the same data under both names until the run ends.
//
// # Errors
//
// [WriteError] for a file that cannot be written, with the name that the user gave; [ClashError] for two uses of one file; [TakenError] for a data file of another model.
//
// # Concurrency
//
// Functions may be called from several goroutines, for different outputs. Claims need the caller's own locking.
package outfile
