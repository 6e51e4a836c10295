/* proa-keeper: is there, so that the namespaces it is in stay (rootless.h). */
#include <unistd.h>

int main(void)
{
    for (;;)
        pause();
}
